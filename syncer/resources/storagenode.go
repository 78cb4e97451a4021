package resources

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"nestling.dev/nestling/syncer/resource"
)

// CSINodes mirror those of the nodes that the tenant sees: all of them, or those that run
// its pods.
func CSINodes(allNodes bool) resource.Kind {
	spec := resource.Spec[*storagev1.CSINode]{
		Resource:  storagev1.SchemeGroupVersion.WithResource("csinodes"),
		Kind:      "CSINode",
		Direction: resource.FromHost,
		Optional:  true,
		NoStatus:  true,
		About:     resource.About{Virtual: "nothing", Host: "everything", Default: "those of the nodes that the tenant sees"},
		New:       func() *storagev1.CSINode { return &storagev1.CSINode{} },
		ToVirtual: func(_ resource.Env, host *storagev1.CSINode) (*storagev1.CSINode, error) {
			// Without its owner, the host's node, whose UID nobody knows here.
			return &storagev1.CSINode{ObjectMeta: mirrorMeta(host), Spec: host.Spec}, nil
		},
		MergeVirtual: func(_ resource.Env, virtual, host *storagev1.CSINode) *storagev1.CSINode {
			out := *virtual
			out.Labels, out.Spec = host.Labels, host.Spec
			return &out
		},
		Replace: replaceCSINode,
	}
	if !allNodes {
		spec.Sources = map[string]func(resource.Object) []string{"pods": nodesOfPods}
		spec.Select = func(env resource.Env, host *storagev1.CSINode) bool {
			return slices.ContainsFunc(env.View.HostList("pods"), func(object resource.Object) bool {
				pod, ok := object.(*corev1.Pod)
				return ok && pod.Spec.NodeName == host.Name
			})
		}
	}
	return spec.Erase()
}

// replaceCSINode is true when a driver has joined the node again under another identity.
func replaceCSINode(desired, live *storagev1.CSINode) bool {
	for _, driver := range desired.Spec.Drivers {
		for _, before := range live.Spec.Drivers {
			if driver.Name == before.Name && (driver.NodeID != before.NodeID || !slices.Equal(driver.TopologyKeys, before.TopologyKeys)) {
				return true
			}
		}
	}
	return false
}
