package resources

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"nestling.dev/nestling/syncer/resource"
)

// mergeHostPod is live with what may change on a pod that exists. Everything else of a
// pod's spec is fixed on both sides.
func mergeHostPod(_ resource.Env, desired, live *corev1.Pod) *corev1.Pod {
	was := live.Annotations // of the last write; MergeMeta brings the new ones later
	namespaceLabel := resource.Prefix + "ns-"
	maps.DeleteFunc(live.Labels, func(key, _ string) bool {
		_, wanted := desired.Labels[key]
		return strings.HasPrefix(key, namespaceLabel) && !wanted
	})
	if was[podImages] != desired.Annotations[podImages] {
		mergeContainers(desired, live, func(from, to *corev1.Container) { to.Image = from.Image })
	}
	if was[podResources] != desired.Annotations[podResources] {
		mergeContainers(desired, live, func(from, to *corev1.Container) { mergeResources(&from.Resources, &to.Resources) })
		if desired.Spec.Resources != nil {
			if live.Spec.Resources == nil {
				live.Spec.Resources = &corev1.ResourceRequirements{}
			}
			mergeResources(desired.Spec.Resources, live.Spec.Resources)
		}
	}
	for _, container := range desired.Spec.EphemeralContainers {
		if !slices.ContainsFunc(live.Spec.EphemeralContainers, func(c corev1.EphemeralContainer) bool { return c.Name == container.Name }) {
			live.Spec.EphemeralContainers = append(live.Spec.EphemeralContainers, *container.DeepCopy())
		}
	}
	live.Spec.Tolerations = mergeTolerations(desired.Spec.Tolerations, live.Spec.Tolerations)
	if deadline := desired.Spec.ActiveDeadlineSeconds; deadline != nil &&
		(live.Spec.ActiveDeadlineSeconds == nil || *deadline < *live.Spec.ActiveDeadlineSeconds) {
		live.Spec.ActiveDeadlineSeconds = new(*deadline)
	}
	if now, wanted := live.Spec.TerminationGracePeriodSeconds, desired.Spec.TerminationGracePeriodSeconds; now != nil && wanted != nil && *now < 0 && *wanted == 1 {
		live.Spec.TerminationGracePeriodSeconds = new(int64(1)) // the one change that the API allows
	}
	mergeGates(desired, live)
	for _, condition := range desired.Status.Conditions {
		setPodCondition(&live.Status, condition)
	}
	return live
}

func mergeContainers(desired, live *corev1.Pod, merge func(from, to *corev1.Container)) {
	for _, lists := range [][2][]corev1.Container{
		{desired.Spec.InitContainers, live.Spec.InitContainers},
		{desired.Spec.Containers, live.Spec.Containers},
	} {
		for i := range lists[0] {
			for j := range lists[1] {
				if lists[0][i].Name == lists[1][j].Name {
					merge(&lists[0][i], &lists[1][j])
				}
			}
		}
	}
}

// mergeResources keeps what only the host has, by a LimitRange of its own: the API does
// not let requests or limits go from a pod, so none is there because the virtual side
// had it once.
func mergeResources(from, to *corev1.ResourceRequirements) {
	to.Requests = overlay(to.Requests, from.Requests)
	to.Limits = overlay(to.Limits, from.Limits)
}

func overlay(base, over corev1.ResourceList) corev1.ResourceList {
	if len(over) == 0 {
		return base
	}
	out := maps.Clone(base)
	if out == nil {
		out = corev1.ResourceList{}
	}
	maps.Copy(out, over)
	return out
}

// mergeTolerations adds the desired tolerations that live lacks. The API lets none go,
// and lets only the seconds of one change; those that the host added stay.
func mergeTolerations(desired, live []corev1.Toleration) []corev1.Toleration {
	out := slices.Clone(live)
	for _, toleration := range desired {
		same := func(other corev1.Toleration) bool { return equality.Semantic.DeepEqual(toleration, other) }
		if slices.ContainsFunc(out, same) {
			continue
		}
		at := slices.IndexFunc(out, func(other corev1.Toleration) bool {
			// One that is desired as it is belongs to another of the desired.
			return sameButSeconds(toleration, other) && !slices.ContainsFunc(desired, func(d corev1.Toleration) bool {
				return equality.Semantic.DeepEqual(d, other)
			})
		})
		if at >= 0 {
			out[at] = toleration
		} else {
			out = append(out, toleration)
		}
	}
	return out
}

func sameButSeconds(a, b corev1.Toleration) bool {
	a.TolerationSeconds, b.TolerationSeconds = nil, nil
	return a == b
}

// mergeGates lifts the scheduling gates that the virtual side has lifted, and only
// those: the host may gate pods too. Where a pod may run can change while it is gated.
func mergeGates(desired, live *corev1.Pod) {
	gated := len(live.Spec.SchedulingGates) > 0
	if gated && live.Annotations[podPlacement] != "" && live.Annotations[podPlacement] != placementHash(&desired.Spec) {
		live.Spec.NodeSelector = merged(live.Spec.NodeSelector, desired.Spec.NodeSelector)
		if affinity := nodeAffinity(&desired.Spec); affinity != nil {
			if live.Spec.Affinity == nil {
				live.Spec.Affinity = &corev1.Affinity{}
			}
			live.Spec.Affinity.NodeAffinity = affinity.DeepCopy()
		}
	}
	written := strings.Split(live.Annotations[podGates], ",")
	wanted := gateNames(&desired.Spec)
	live.Spec.SchedulingGates = slices.DeleteFunc(live.Spec.SchedulingGates, func(gate corev1.PodSchedulingGate) bool {
		return slices.Contains(written, gate.Name) && !slices.Contains(wanted, gate.Name)
	})
}

func merged(base, over map[string]string) map[string]string {
	if len(over) == 0 {
		return base
	}
	out := maps.Clone(base)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, over)
	return out
}

// hostPodParts splits an update into its writes: the pod itself, its conditions, its
// ephemeral containers, its resources. The records of what the last two bring are
// written when both are done, so that a write that fails is tried again; and they come
// late, so that a host that refuses a resize gets everything else.
func hostPodParts(live, want *corev1.Pod) []resource.Part[*corev1.Pod] {
	pod := want.DeepCopy()
	pod.Status = *live.Status.DeepCopy()
	pod.Spec.EphemeralContainers = live.DeepCopy().Spec.EphemeralContainers
	copyResources(live, pod)
	grown := !equality.Semantic.DeepEqual(pod.Spec.EphemeralContainers, want.Spec.EphemeralContainers)
	status := pod.DeepCopy()
	status.Status = *want.Status.DeepCopy()
	ephemeral := status.DeepCopy()
	ephemeral.Spec.EphemeralContainers = want.DeepCopy().Spec.EphemeralContainers
	resized := ephemeral.DeepCopy()
	copyResources(want, resized)
	if grown || !equality.Semantic.DeepEqual(resized, ephemeral) {
		for _, part := range []*corev1.Pod{pod, status, ephemeral, resized} {
			for _, key := range []string{podResources, podGeneration} {
				keepAnnotation(live, part, key)
			}
		}
	}
	return []resource.Part[*corev1.Pod]{
		{Want: pod},
		{Subresource: "status", Want: status},
		{Subresource: "ephemeralcontainers", Want: ephemeral},
		{Subresource: "resize", Want: resized},
		{Want: want},
	}
}

// copyResources sets the resources of to's containers, and its own, to from's.
func copyResources(from, to *corev1.Pod) {
	from = from.DeepCopy()
	mergeContainers(from, to, func(from, to *corev1.Container) { to.Resources = from.Resources })
	to.Spec.Resources = from.Spec.Resources
}

func keepAnnotation(live, pod *corev1.Pod, key string) {
	if value, ok := live.Annotations[key]; ok {
		pod.Annotations[key] = value
	} else {
		delete(pod.Annotations, key)
	}
}
