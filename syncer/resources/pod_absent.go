package resources

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/syncer/resource"
)

const (
	// absentPause is how long the words of one reason stand: what the host says may be
	// another sentence at each attempt, and each write leads to the next attempt.
	absentPause = 30 * time.Second
	// absentMessage bounds the words, in bytes.
	absentMessage = 2 << 10
)

// absentPod is virtual with the condition that says why it has no host pod.
func absentPod(env resource.Env, virtual *corev1.Pod, reason, message string) *corev1.Pod {
	now := metav1.Time{Time: env.Now}
	condition := corev1.PodCondition{
		Type: PodHostSynced, Status: corev1.ConditionFalse, Reason: reason, Message: message[:min(len(message), absentMessage)],
		LastProbeTime: now, LastTransitionTime: now,
	}
	if old := podCondition(&virtual.Status, PodHostSynced); old != nil && old.Status == condition.Status {
		if old.Reason == condition.Reason && (old.Message == condition.Message || env.Now.Sub(old.LastProbeTime.Time) < absentPause) {
			return virtual
		}
		condition.LastTransitionTime = old.LastTransitionTime
	}
	setPodCondition(&virtual.Status, condition)
	if unplaced(virtual) && len(virtual.Spec.SchedulingGates) == 0 {
		// What users, their tools and controllers look at, in the scheduler's own words.
		setPodCondition(&virtual.Status, corev1.PodCondition{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable,
			Message: condition.Message, LastTransitionTime: condition.LastTransitionTime,
		})
	}
	return virtual
}

// saysAbsent reports whether a pod says that it has no host pod.
func saysAbsent(virtual *corev1.Pod) bool {
	condition := podCondition(&virtual.Status, PodHostSynced)
	return condition != nil && condition.Status == corev1.ConditionFalse
}
