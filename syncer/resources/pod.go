package resources

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
)

// PodHostSynced is the type of the condition that every synced pod has. It is True once
// the host pod was there: such a pod is never given a second one. It is False, with the
// reason, while the pod waits for long, is refused, or has its host pod replaced before
// that has a node.
const PodHostSynced corev1.PodConditionType = resource.Prefix + "HostSynced"

// Annotations of ours on host pods. Those with the record of what was written last
// exist because the host may change the same fields (its webhooks images, its
// LimitRanges resources): only a change on the virtual side is written again.
const (
	// podLabels and podAnnotations hold what downward API volumes that ask for all
	// labels or annotations show, in kubelet's format.
	podLabels      = resource.Prefix + "labels"
	podAnnotations = resource.Prefix + "annotations"
	// podDownward and a number hold the value of the one label or annotation that a
	// downward API volume asks for.
	podDownward = resource.Prefix + "downward-"

	podImages     = resource.Prefix + "images"     // hash of the containers' images
	podResources  = resource.Prefix + "resources"  // hash of the containers' resources
	podPlacement  = resource.Prefix + "placement"  // hash of node selector and affinity of a gated pod
	podNodes      = resource.Prefix + "nodes"      // hash of what the tenant's own words about nodes meant for the pod
	podGates      = resource.Prefix + "gates"      // names of the scheduling gates, by commas
	podGeneration = resource.Prefix + "generation" // metadata.generation of the virtual pod
)

// Pods run on the host: the virtual pod owns the spec, the host pod the status.
func Pods() resource.Kind {
	return resource.Spec[*corev1.Pod]{
		Resource:   corev1.SchemeGroupVersion.WithResource("pods"),
		Kind:       "Pod",
		Namespaced: true,
		Direction:  resource.ToHost,
		Mortal:     true,
		About: resource.About{
			Virtual: "spec, labels, annotations, deletion",
			Host:    "node, status, eviction and loss",
			Default: "all but mirror pods of kubelets",
		},
		New:          func() *corev1.Pod { return &corev1.Pod{} },
		Select:       selectPod,
		Refs:         podRefs,
		Wait:         podWait,
		ToHost:       podToHost,
		MergeHost:    mergeHostPod,
		Replace:      replacePod,
		Replacing:    replacingPod,
		HostParts:    hostPodParts,
		MergeVirtual: mergeVirtualPod,
		Node:         func(pod *corev1.Pod) string { return pod.Spec.NodeName },
		Began:        podBegan,
		Reasons:      podReasons(),
		Pending:      podPending,
		Absent:       absentPod,
		Words:        VirtualText,
	}.Erase()
}

// selectPod leaves out mirror pods: they stand for a static pod of a kubelet of their
// own, and no kubelet of this cluster has any.
func selectPod(_ resource.Env, pod *corev1.Pod) bool {
	_, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]
	return !mirror
}

// podBegan reports whether the virtual pod shows that its host pod was there. A node
// alone does not: its author may have chosen it. Binding, which only follows a host
// pod's, says so in the condition PodScheduled.
func podBegan(virtual *corev1.Pod) bool {
	for _, condition := range virtual.Status.Conditions {
		switch condition.Type {
		case PodHostSynced:
			if condition.Status == corev1.ConditionTrue {
				return true
			}
		case corev1.PodScheduled:
			if condition.Status == corev1.ConditionTrue && virtual.Spec.NodeName != "" {
				return true
			}
		}
	}
	return false
}

// podRefs is everything that a virtual pod names, and its namespace, whose labels its
// host pod carries; and all nodes, where it has none yet.
func podRefs(virtual *corev1.Pod) []resource.Ref {
	refs := []resource.Ref{{Resource: "namespaces", Key: resource.Key{Name: virtual.Namespace}}}
	seen := map[resource.Ref]bool{}
	forEachName(virtual, func(plural string, name *string) {
		ref := resource.Ref{Resource: plural, Key: resource.Key{Namespace: virtual.Namespace, Name: *name}}
		if !seen[ref] {
			seen[ref] = true
			refs = append(refs, ref)
		}
	})
	if unplaced(virtual) {
		refs = append(refs, resource.Ref{Resource: "nodes"}) // any of them
	}
	if class := virtual.Spec.RuntimeClassName; class != nil {
		refs = append(refs, resource.Ref{Resource: "runtimeclasses", Key: resource.Key{Name: *class}})
	}
	if account := virtual.Spec.ServiceAccountName; account != "" {
		refs = append(refs, resource.Ref{Resource: "serviceaccounts", Key: resource.Key{Namespace: virtual.Namespace, Name: account}})
	}
	return refs
}

// podWait keeps a pod from the host until the ConfigMaps and Secrets that it refers to
// are there with what they hold now, and its tokens: kubelet would report missing ones
// and back off, and a variable that got an old value would keep it. One that does not
// exist in the virtual cluster is not waited for, since kubelet says about it what it
// says on any cluster.
func podWait(env resource.Env, virtual *corev1.Pod) string {
	if reason := claimsWait(virtual); reason != "" {
		return reason
	}
	waitedFor := map[string]string{"configmaps": "ConfigMap", "secrets": "Secret", "resourceclaims": "ResourceClaim"}
	if env.Policy.ServiceAccounts {
		waitedFor["serviceaccounts"] = "ServiceAccount"
	}
	for _, ref := range podRefs(virtual) {
		kind, waited := waitedFor[ref.Resource]
		if !waited {
			continue
		}
		object := env.View.Virtual(ref.Resource, ref.Key)
		if object != nil && !arrived(object, env.View.Host(ref.Resource, naming.Host(env.Tenant, ref.Namespace, ref.Name))) {
			return fmt.Sprintf("%s %q is on its way to the host", kind, ref.Name)
		}
	}
	if reason := podVolumesWait(env, virtual); reason != "" {
		return reason
	}
	if len(Tokens(virtual)) > 0 {
		secret := env.View.Host("secrets", TokenSecretName(env.Tenant, virtual.Namespace, virtual.Name))
		if secret == nil || secret.GetAnnotations()[resource.AnnotationUID] != string(virtual.UID) {
			return "its ServiceAccount tokens are on their way to the host"
		}
	}
	return ""
}

// arrived reports whether the host object of a ConfigMap or Secret holds what the
// virtual one does.
func arrived(virtual, host resource.Object) bool {
	switch virtual := virtual.(type) {
	case *corev1.ConfigMap:
		host, ok := host.(*corev1.ConfigMap)
		return ok && sameContent(virtual.Data, host.Data) && sameContent(virtual.BinaryData, host.BinaryData)
	case *corev1.Secret:
		host, ok := host.(*corev1.Secret)
		return ok && sameContent(virtual.Data, host.Data)
	}
	return host != nil
}
