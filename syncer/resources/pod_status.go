package resources

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/syncer/resource"
)

// mergeVirtualPod is virtual with the host pod's status. Not the host's are: the class
// of service, which the API fixes at creation; the names of resource claims, which a
// controller of the virtual cluster fills in; and some conditions (mergeConditions).
func mergeVirtualPod(env resource.Env, virtual, host *corev1.Pod) *corev1.Pod {
	old := virtual.Status
	switch {
	case untouched(&host.Status) && !saysAbsent(virtual):
		return virtual // a write for every new pod that would say nothing
	case finished(old.Phase) && host.Status.Phase != old.Phase:
		return virtual // the end of a pod is final
	}
	text := newPodText(env, virtual, host.UID)
	status := *host.Status.DeepCopy()
	generation := func(seen, before int64) int64 { return virtualGeneration(virtual, host, seen, before) }

	status.ObservedGeneration = generation(host.Status.ObservedGeneration, old.ObservedGeneration)
	status.QOSClass = old.QOSClass
	status.ResourceClaimStatuses = old.ResourceClaimStatuses
	status.ExtendedResourceClaimStatus = old.ExtendedResourceClaimStatus
	status.NodeAllocatableResourceClaimStatuses = old.NodeAllocatableResourceClaimStatuses
	if host.Spec.NodeName != "" {
		status.NominatedNodeName = "" // may not be set on a pod that has a node
	}
	status.Message = text.translate(status.Message)
	status.Conditions = mergeConditions(virtual, host, text, generation)
	status.InitContainerStatuses = visibleStatuses(status.InitContainerStatuses, names(virtual.Spec.InitContainers), text)
	status.ContainerStatuses = visibleStatuses(status.ContainerStatuses, names(virtual.Spec.Containers), text)
	var ephemeral []string
	for _, container := range virtual.Spec.EphemeralContainers {
		ephemeral = append(ephemeral, container.Name)
	}
	status.EphemeralContainerStatuses = visibleStatuses(status.EphemeralContainerStatuses, ephemeral, text)
	virtual.Status = status
	return virtual
}

// untouched reports whether nobody on the host has said anything about a pod yet, or
// nothing but that it has a node, which the virtual pod's own binding says.
func untouched(status *corev1.PodStatus) bool {
	said := slices.ContainsFunc(status.Conditions, func(condition corev1.PodCondition) bool {
		return condition.Type != corev1.PodScheduled || condition.Status != corev1.ConditionTrue
	})
	return !said && (status.Phase == "" || status.Phase == corev1.PodPending) && status.Reason == "" && len(status.ContainerStatuses) == 0
}

func finished(phase corev1.PodPhase) bool {
	return phase == corev1.PodSucceeded || phase == corev1.PodFailed
}

// virtualGeneration is the generation of the virtual pod that the host means by seen,
// one of the host pod: if it is the newest of these, then the one that was written
// there last, otherwise what was known before. No generation stays as it was, which is
// how API servers read it.
func virtualGeneration(virtual, host *corev1.Pod, seen, before int64) int64 {
	if seen == 0 || seen != host.Generation {
		return before
	}
	if virtual.DeletionTimestamp != nil && host.DeletionTimestamp != nil {
		return virtual.Generation // deletion counts one up, and nothing else is written after it
	}
	written, err := strconv.ParseInt(host.Annotations[podGeneration], 10, 64)
	if err != nil {
		return before
	}
	return written
}

// hostCondition reports whether kubelet or scheduler own a condition: one that the host
// pod has no more is gone. Others that only the virtual pod has stay, whoever set them.
func hostCondition(kind corev1.PodConditionType) bool {
	switch kind {
	case corev1.PodScheduled, corev1.PodReady, corev1.PodInitialized, corev1.ContainersReady,
		corev1.PodReadyToStartContainers, corev1.PodResizePending, corev1.PodResizeInProgress,
		corev1.AllContainersRestarting:
		return true
	}
	return false
}

// mergeConditions is the host pod's conditions, but for those of readiness gates, which
// are the virtual side's; and the one that says that there was a host pod. The order is
// the virtual pod's, so that a new order on the host is no reason to write.
func mergeConditions(virtual, host *corev1.Pod, text *podText, generation func(seen, before int64) int64) []corev1.PodCondition {
	gated := func(kind corev1.PodConditionType) bool {
		return slices.ContainsFunc(virtual.Spec.ReadinessGates, func(gate corev1.PodReadinessGate) bool { return gate.ConditionType == kind })
	}
	out := corev1.PodStatus{}
	for _, condition := range virtual.Status.Conditions {
		if !hostCondition(condition.Type) || podCondition(&host.Status, condition.Type) != nil || gated(condition.Type) {
			out.Conditions = append(out.Conditions, condition)
		}
	}
	for _, condition := range host.Status.Conditions {
		if gated(condition.Type) || condition.Type == PodHostSynced {
			continue
		}
		before := int64(0)
		if old := podCondition(&virtual.Status, condition.Type); old != nil {
			before = old.ObservedGeneration
		}
		condition.ObservedGeneration = generation(condition.ObservedGeneration, before)
		condition.Message = text.translate(condition.Message)
		setPodCondition(&out, condition)
	}
	setPodCondition(&out, corev1.PodCondition{
		Type: PodHostSynced, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Time{Time: host.CreationTimestamp.Time},
	})
	return out.Conditions
}

// visibleStatuses is the statuses of the virtual pod's own containers: the host may have
// added others.
func visibleStatuses(statuses []corev1.ContainerStatus, visible []string, text *podText) []corev1.ContainerStatus {
	statuses = slices.DeleteFunc(statuses, func(status corev1.ContainerStatus) bool { return !slices.Contains(visible, status.Name) })
	if len(statuses) == 0 {
		return nil
	}
	for i := range statuses {
		for _, allocated := range statuses[i].AllocatedResourcesStatus {
			for j, health := range allocated.Resources {
				if health.Message != nil {
					allocated.Resources[j].Message = new(text.translate(*health.Message))
				}
			}
		}
		for _, state := range []*corev1.ContainerState{&statuses[i].State, &statuses[i].LastTerminationState} {
			if state.Waiting != nil {
				state.Waiting.Message = text.translate(state.Waiting.Message)
			}
			if state.Terminated != nil {
				// May be the container's own words: its termination log.
				state.Terminated.Message = text.translateNames(state.Terminated.Message)
			}
		}
	}
	return statuses
}

func names(containers []corev1.Container) []string {
	var out []string
	for _, container := range containers {
		out = append(out, container.Name)
	}
	return out
}

func podCondition(status *corev1.PodStatus, kind corev1.PodConditionType) *corev1.PodCondition {
	for i := range status.Conditions {
		if status.Conditions[i].Type == kind {
			return &status.Conditions[i]
		}
	}
	return nil
}

// setPodCondition puts condition in the place of the one of its type, or at the end. The
// generation that the old one has observed stays where the new one names none.
func setPodCondition(status *corev1.PodStatus, condition corev1.PodCondition) {
	old := podCondition(status, condition.Type)
	if old == nil {
		status.Conditions = append(status.Conditions, condition)
		return
	}
	if condition.ObservedGeneration == 0 {
		condition.ObservedGeneration = old.ObservedGeneration
	}
	*old = condition
}
