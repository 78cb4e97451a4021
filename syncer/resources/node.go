package resources

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/syncer/nodefacts"
	"nestling.dev/nestling/syncer/resource"
)

// kubeletPort is the port that mirrored nodes name. Nothing dials it: the tenant's API
// server reaches kubelets through the process.
const kubeletPort = 10250

// Nodes mirror the host's.
//
// The host's labels and taints show, but for taints that the operator has all pods of the
// tenant tolerate. A tenant may add its own, and cordon: that is local to the virtual
// cluster, and kept by where its pods are let go to (pod_nodes.go), since the host's scheduler
// does not see it. Annotations of host nodes are notes of the host's agents (tunnel addresses,
// join configuration) and none of them is shown; a tenant may set its own.
//
// spec.unschedulable belongs to the tenant. The taint node.kubernetes.io/unschedulable shows
// if either side has cordoned. Other taints of that domain stand for conditions, which the
// host judges.
//
// Leases of nodes are not mirrored: nothing in the tenant judges nodes by their heartbeats,
// and each would be a write every ten seconds. The mirrored condition Ready is the host's
// own judgement.
//
// Where the host's nodes can't be read, those that run pods of the tenant's are made of
// what these pods tell.
func Nodes(readable bool) resource.Kind {
	spec := resource.Spec[*corev1.Node]{
		Resource:  corev1.SchemeGroupVersion.WithResource("nodes"),
		Kind:      "Node",
		Direction: resource.FromHost,
		Optional:  true,
		Atomic:    true, // status.addresses repeats its types on dual-stack nodes
		About: resource.About{
			Virtual: "`spec.unschedulable`, annotations, labels and taints that the host's node has not",
			Host:    "its labels and taints, capacity, conditions, addresses; not images, volumes, leases",
			Default: "all; those that run the tenant's pods with `nodes.mirror: used` or without the right",
		},
		New:          func() *corev1.Node { return &corev1.Node{} },
		ToVirtual:    nodeToVirtual,
		MergeVirtual: mergeVirtualNode,
		Replace: func(desired, live *corev1.Node) bool {
			// A node that joined the host again as another machine.
			return live.Spec.ProviderID != "" && live.Spec.ProviderID != desired.Spec.ProviderID
		},
	}
	if !readable {
		spec.Sources = map[string]func(resource.Object) []string{"pods": nodesOfPods}
		spec.Make = makeNode
	}
	return spec.Erase()
}

func nodeToVirtual(env resource.Env, host *corev1.Node) (*corev1.Node, error) {
	taints := shownTaints(env, host.Spec.Taints)
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: host.Name, Labels: host.Labels,
			Annotations: map[string]string{resource.AnnotationCopied: nodefacts.OfHost(host.Labels, taints)},
		},
		Spec: corev1.NodeSpec{
			ProviderID: host.Spec.ProviderID,
			Taints:     taints,
		},
		Status: corev1.NodeStatus{
			Capacity:         host.Status.Capacity,
			Allocatable:      host.Status.Allocatable,
			Conditions:       host.Status.Conditions,
			Addresses:        nodeAddresses(host.Status.Addresses),
			DaemonEndpoints:  corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: kubeletPort}},
			NodeInfo:         host.Status.NodeInfo,
			RuntimeHandlers:  host.Status.RuntimeHandlers,
			Features:         host.Status.Features,
			DeclaredFeatures: host.Status.DeclaredFeatures,
			// Images, volumes and kubelet's configuration are left out: they are large, and
			// name what other tenants run.
		},
	}, nil
}

func mergeVirtualNode(_ resource.Env, virtual, host *corev1.Node) *corev1.Node {
	out := *virtual
	labels, taints := nodefacts.Own(virtual)
	out.Annotations = merged(virtual.Annotations, host.Annotations)
	out.Labels = merged(labels, host.Labels)
	out.Spec.ProviderID = host.Spec.ProviderID
	out.Spec.Taints = nodefacts.Both(host.Spec.Taints, taints)
	out.Status = host.Status
	out.Status.Conditions = nodeConditions(virtual.Status.Conditions, host.Status.Conditions)
	return &out
}

func nodeAddresses(host []corev1.NodeAddress) []corev1.NodeAddress {
	var out []corev1.NodeAddress
	for _, address := range host {
		if address.Type == corev1.NodeInternalIP || address.Type == corev1.NodeHostName {
			out = append(out, address)
		}
	}
	return out
}

// shownTaints are those that keep any pod of the tenant's away.
func shownTaints(env resource.Env, host []corev1.Taint) []corev1.Taint {
	return slices.DeleteFunc(slices.Clone(host), func(taint corev1.Taint) bool {
		return tolerated(env.Policy.Pods.Tolerations, taint)
	})
}

// nodeConditions are the host's, unless they differ from the virtual ones by nothing but
// heartbeats: a cluster at rest writes nothing, and kubelets beat every five minutes. The
// last beat that shows is that of the last change.
func nodeConditions(virtual, host []corev1.NodeCondition) []corev1.NodeCondition {
	if len(virtual) != len(host) {
		return host
	}
	for i := range host {
		same := host[i]
		same.LastHeartbeatTime = virtual[i].LastHeartbeatTime
		if !equality.Semantic.DeepEqual(same, virtual[i]) {
			return host
		}
	}
	return virtual
}
