package controlplane

import (
	"slices"

	cloudnames "k8s.io/cloud-provider/names"
	"k8s.io/kubernetes/cmd/kube-controller-manager/names"
)

// TenantControllers are the controllers of a cluster without nodes of its own:
// all of upstream's defaults but those whose work is the host's. Everything
// about a pod after it was created, and about volumes, happens on the host and
// is mirrored; a controller that did it here, too, would fight with the mirror. And all
// but the namespace controller, for which there is one that need not guess; the one of
// policies' statuses, for which there is one that needs less memory; and the one of
// evictions by taints, for which there is one that leaves the host's taints to the host.
func TenantControllers() []string {
	controllers := []string{"*", "-" + names.NamespaceController, "-" + names.ValidatingAdmissionPolicyStatusController}
	for _, name := range hostControllers() {
		controllers = append(controllers, "-"+name)
	}
	return controllers
}

// hostControllers do what the host does for the tenant.
func hostControllers() []string {
	nodes := []string{
		names.NodeIpamController,            // the host gives out pod networks
		names.NodeLifecycleController,       // mirrored nodes have no heartbeat here; the host judges them
		names.TaintEvictionController,       // the host evicts by its taints; the eviction is mirrored
		names.DeviceTaintEvictionController, // as above
		names.TTLController,                 // writes an annotation to nodes, for kubelets
		// Deletes pods of nodes that do not exist, by force. A gap in the mirror
		// of a node must not end a running pod; the host's own collector decides.
		names.PodGarbageCollectorController,
		names.CertificateSigningRequestApprovingController, // approves kubelets only
		cloudnames.NodeRouteController,                     // no cloud here
		cloudnames.ServiceLBController,
		cloudnames.CloudNodeLifecycleController,
	}
	volumes := []string{
		// The host binds, attaches and expands. The protection controllers stay:
		// admission gives claims and volumes finalizers that only they remove.
		names.PersistentVolumeBinderController,
		names.PersistentVolumeAttachDetachController,
		names.PersistentVolumeExpanderController,
	}
	devices := []string{
		// The host's scheduler allocates devices. The controller of claims stays: it makes
		// those of templates, and reserves and frees what the host's does at the same time.
		names.ResourcePoolStatusRequestController,
	}
	return slices.Concat(nodes, volumes, devices)
}
