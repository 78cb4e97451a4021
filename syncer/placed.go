package syncer

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
)

// HostPod is a virtual pod's place on the host.
type HostPod struct {
	Namespace, Name string
	UID             string   // of the virtual pod
	Containers      []string // of the virtual pod: those that others injected on the host are not among them
}

// HostPod is where the virtual pod name in namespace runs. It is false for a pod that
// there is not, and for one that has no host pod: what stands under its host name may be
// somebody else's.
func (s *Syncer) HostPod(namespace, name string) (HostPod, bool) {
	env := s.engine.Env()
	pod, ok := env.View.Virtual("pods", resource.Key{Namespace: namespace, Name: name}).(*corev1.Pod)
	if !ok {
		return HostPod{}, false
	}
	return placeOf(env, pod)
}

// PlacedPod is a virtual pod that is on the host.
type PlacedPod struct {
	Virtual *corev1.Pod // from a cache: not to be changed
	Host    HostPod
}

// PlacedPods are those of a virtual namespace, "" for all.
func (s *Syncer) PlacedPods(namespace string) []PlacedPod {
	env := s.engine.Env()
	var out []PlacedPod
	for _, object := range env.View.VirtualList("pods", namespace) {
		pod := object.(*corev1.Pod)
		if host, ok := placeOf(env, pod); ok {
			out = append(out, PlacedPod{Virtual: pod, Host: host})
		}
	}
	return out
}

// Nodes are the virtual ones, from a cache: not to be changed.
func (s *Syncer) Nodes() []*corev1.Node {
	var out []*corev1.Node
	for _, object := range s.engine.Env().View.VirtualList("nodes", "") {
		out = append(out, object.(*corev1.Node))
	}
	return out
}

func placeOf(env resource.Env, pod *corev1.Pod) (HostPod, bool) {
	hostName := naming.Host(env.Tenant, pod.Namespace, pod.Name)
	host := env.View.Host("pods", hostName)
	if host == nil || !resource.IsOurs(env, "Pod", host) || host.GetAnnotations()[resource.AnnotationUID] != string(pod.UID) {
		return HostPod{}, false
	}
	target := HostPod{Namespace: env.HostNamespace, Name: hostName, UID: string(pod.UID)}
	for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		target.Containers = append(target.Containers, container.Name)
	}
	for _, container := range pod.Spec.EphemeralContainers {
		target.Containers = append(target.Containers, container.Name)
	}
	return target, true
}
