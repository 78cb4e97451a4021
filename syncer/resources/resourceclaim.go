package resources

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/types"

	"nestling.dev/nestling/syncer/resource"
)

// ResourceClaims go to the host, whose scheduler allocates devices for them. The virtual
// cluster's own controller makes those of templates, for which the host has no objects.
//
// Parameters for drivers are opaque and go as they are: what they name, they name on the host.
func ResourceClaims() resource.Kind {
	return resource.Spec[*resourcev1.ResourceClaim]{
		Resource:   resourcev1.SchemeGroupVersion.WithResource("resourceclaims"),
		Kind:       "ResourceClaim",
		Namespaced: true,
		Direction:  resource.ToHost,
		Optional:   true,
		Atomic:     true, // its lists have no keys that both versions agree on
		About: resource.About{
			Virtual: "spec, labels, annotations; those of templates are made here",
			Host:    "allocation, devices, for which pods it is reserved",
			Default: "all",
		},
		New: func() *resourcev1.ResourceClaim { return &resourcev1.ResourceClaim{} },
		ToHost: func(env resource.Env, virtual *resourcev1.ResourceClaim) (*resourcev1.ResourceClaim, error) {
			return &resourcev1.ResourceClaim{ObjectMeta: resource.HostMeta(env, virtual), Spec: virtual.Spec}, nil
		},
		// A claim's spec never changes, so there is nothing but metadata to merge.
		MergeVirtual: mergeVirtualClaim,
	}.Erase()
}

func mergeVirtualClaim(env resource.Env, virtual, host *resourcev1.ResourceClaim) *resourcev1.ResourceClaim {
	names, uids := resource.NamesOf(env, resource.KeyOf(virtual)), claimUIDs(env, virtual, host)
	text := func(in string) string {
		return uids.Replace(resource.VirtualText(env, virtual.Namespace, names, in))
	}
	status := *host.Status.DeepCopy()
	status.ReservedFor = virtualConsumers(env, virtual, host.Status.ReservedFor, host.Status.Allocation != nil)
	for i := range status.Devices {
		device := &status.Devices[i]
		for j := range device.Conditions {
			device.Conditions[j].Message = text(device.Conditions[j].Message)
		}
		if device.Data != nil {
			// A driver's own JSON. Names need no quoting there.
			device.Data.Raw = []byte(text(string(device.Data.Raw)))
		}
	}
	virtual.Status = status
	return virtual
}

// virtualConsumers are the virtual pods for which the host claim is reserved, and those for
// which the virtual cluster's controller has reserved it: the host's will do the same for a
// pod that has a node already. Both controllers take away a pod that needs the claim no
// more, so such a one is left out here: neither is to be contradicted.
func virtualConsumers(env resource.Env, virtual *resourcev1.ResourceClaim, host []resourcev1.ResourceClaimConsumerReference, allocated bool) []resourcev1.ResourceClaimConsumerReference {
	var out []resourcev1.ResourceClaimConsumerReference
	add := func(name string, uid types.UID) {
		pod, ok := env.View.Virtual("pods", resource.Key{Namespace: virtual.Namespace, Name: name}).(*corev1.Pod)
		if !ok || pod.UID != uid || finished(pod.Status.Phase) || pod.DeletionTimestamp != nil && pod.Spec.NodeName == "" {
			return
		}
		if !slices.ContainsFunc(out, func(r resourcev1.ResourceClaimConsumerReference) bool { return r.UID == uid }) {
			out = append(out, resourcev1.ResourceClaimConsumerReference{Resource: "pods", Name: name, UID: uid})
		}
	}
	for _, consumer := range host {
		pod := env.View.Host(consumer.Resource, consumer.Name)
		if consumer.APIGroup != "" || consumer.Resource != "pods" || pod == nil || pod.GetUID() != consumer.UID || !resource.IsOurs(env, "Pod", pod) {
			continue
		}
		if key, ok := resource.VirtualKey(pod); ok && key.Namespace == virtual.Namespace {
			add(key.Name, types.UID(pod.GetAnnotations()[resource.AnnotationUID]))
		}
	}
	if !allocated {
		return out // the API lets nobody reserve what is not allocated
	}
	for _, consumer := range virtual.Status.ReservedFor {
		if consumer.APIGroup == "" && consumer.Resource == "pods" {
			add(consumer.Name, consumer.UID)
		}
	}
	return out
}

// claimUIDs replaces the UIDs of a host claim and of the pods that it is reserved for.
func claimUIDs(env resource.Env, virtual, host *resourcev1.ResourceClaim) *strings.Replacer {
	var pairs []string
	if host.UID != "" {
		pairs = append(pairs, string(host.UID), string(virtual.UID))
	}
	for _, consumer := range host.Status.ReservedFor {
		if pod := env.View.Host("pods", consumer.Name); pod != nil && resource.IsOurs(env, "Pod", pod) {
			pairs = append(pairs, string(consumer.UID), pod.GetAnnotations()[resource.AnnotationUID])
		}
	}
	return strings.NewReplacer(pairs...)
}
