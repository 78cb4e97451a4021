package resources

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/syncer/naming"
)

const shown = "patch virtual/status: host status differs"

func condition(kind corev1.PodConditionType, status corev1.ConditionStatus) corev1.PodCondition {
	return corev1.PodCondition{Type: kind, Status: status, LastTransitionTime: metav1.Time{Time: time.Unix(1700000000, 0)}}
}

// running makes a host pod one that its kubelet has started.
func running(pod *corev1.Pod) {
	pod.Spec.NodeName = "node-1"
	pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: "injected", Image: "proxy"})
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, QOSClass: corev1.PodQOSBurstable, ObservedGeneration: pod.Generation,
		PodIP: "10.1.0.5", PodIPs: []corev1.PodIP{{IP: "10.1.0.5"}}, HostIP: "192.168.1.1", HostIPs: []corev1.HostIP{{IP: "192.168.1.1"}},
		Conditions: []corev1.PodCondition{
			condition(corev1.PodReadyToStartContainers, corev1.ConditionTrue), condition(corev1.PodInitialized, corev1.ConditionTrue),
			condition(corev1.PodReady, corev1.ConditionTrue), condition(corev1.ContainersReady, corev1.ConditionTrue),
			condition(corev1.PodScheduled, corev1.ConditionTrue),
		},
		ContainerStatuses: []corev1.ContainerStatus{{Name: "injected", Ready: true}, {Name: "web", Ready: true}},
	}
}

func conditionTypes(conditions []corev1.PodCondition) []corev1.PodConditionType {
	var out []corev1.PodConditionType
	for _, condition := range conditions {
		out = append(out, condition.Type)
	}
	return out
}

func TestPodOfWhichTheHostHasNothingToSayIsNotWritten(t *testing.T) {
	t.Parallel()
	s := newStory(t, nil)
	require.Equal(t, corev1.PodPending, s.host().Status.Phase)
	require.Empty(t, s.virtual().Status.Conditions)
}

func TestPodIsBoundAndShowsItsStatus(t *testing.T) {
	t.Parallel()
	s := newStory(t, nil)
	s.onHost(running)
	require.Equal(t, "bind virtual to node-1: host object is bound; "+shown, s.settle())
	status := s.virtual().Status
	require.Equal(t, "node-1", s.virtual().Spec.NodeName)
	require.Equal(t, "10.1.0.5", status.PodIP)
	require.Equal(t, corev1.PodQOSBestEffort, status.QOSClass, "the class that the virtual side computed")
	require.Equal(t, []string{"web"}, statusNames(status.ContainerStatuses), "what the host injects is not seen")
	require.Contains(t, conditionTypes(status.Conditions), PodHostSynced)

	s.onHost(func(pod *corev1.Pod) { // a new order is no news
		c := pod.Status.Conditions
		c[0], c[4] = c[4], c[0]
	})
	require.Empty(t, s.settle())
}

func statusNames(statuses []corev1.ContainerStatus) []string {
	var out []string
	for _, status := range statuses {
		out = append(out, status.Name)
	}
	return out
}

func TestPodWithNothingButInjectedContainersShowsNone(t *testing.T) {
	t.Parallel()
	s := newStory(t, nil)
	s.onHost(running)
	s.onHost(func(pod *corev1.Pod) { pod.Status.ContainerStatuses = pod.Status.ContainerStatuses[:1] })
	s.settle()
	require.Empty(t, s.virtual().Status.ContainerStatuses)
}

func TestPodMessagesNameNothingOfTheHost(t *testing.T) {
	t.Parallel()
	s := newStory(t, func(pod *corev1.Pod) {
		pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: "settings"},
		}}}}
	})
	host, settings := s.host().Name, naming.Host("team-a", "default", "settings")
	s.onHost(running)
	s.onHost(func(pod *corev1.Pod) {
		pod.Status.Message = `pod "` + host + `" in namespace tenants: serviceaccount tenants/team-a-workload not found, tenants remain tenants`
		pod.Status.Conditions[2].Message = `object "tenants"/"` + settings + `" not registered`
		pod.Status.ContainerStatuses[1].State.Waiting = &corev1.ContainerStateWaiting{
			Message: "back-off 10s restarting failed container=web pod=" + host + "_tenants(" + string(pod.UID) + ")",
		}
		pod.Status.ContainerStatuses[1].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{
			Message: "the app says: \"tenants\" of " + host,
		}
	})
	s.settle()
	status := s.virtual().Status
	require.Equal(t, `pod "web-0" in namespace default: serviceaccount default/default not found, tenants remain tenants`, status.Message)
	require.Equal(t, `object "default"/"settings" not registered`, podCondition(&status, corev1.PodReady).Message)
	require.Equal(t, "back-off 10s restarting failed container=web pod=web-0_default(pod-1)", status.ContainerStatuses[0].State.Waiting.Message)
	require.Equal(t, "the app says: \"tenants\" of web-0", status.ContainerStatuses[0].LastTerminationState.Terminated.Message)
	require.Equal(t, `pods "web-0" not found`, VirtualText(s.env, s.virtual(), `pods "`+host+`" not found`))
}

func TestPodReadinessGatesFlowToTheHost(t *testing.T) {
	t.Parallel()
	s := newStory(t, func(pod *corev1.Pod) {
		pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "example.com/ready"}}
	})
	s.onHost(running)
	s.settle()
	s.onVirtual(func(pod *corev1.Pod) {
		gate := condition("example.com/ready", corev1.ConditionTrue)
		gate.ObservedGeneration = 12 // of the virtual pod's
		pod.Status.Conditions = append(pod.Status.Conditions, gate)
	})
	require.Equal(t, "patch host/status: virtual object differs", s.settle())
	require.Equal(t, condition("example.com/ready", corev1.ConditionTrue), *podCondition(&s.host().Status, "example.com/ready"))
	s.onVirtual(func(pod *corev1.Pod) { podCondition(&pod.Status, "example.com/ready").Status = corev1.ConditionFalse })
	require.Equal(t, "patch host/status: virtual object differs", s.settle())
	require.Equal(t, corev1.ConditionFalse, podCondition(&s.host().Status, "example.com/ready").Status)
	require.Equal(t, corev1.ConditionFalse, podCondition(&s.virtual().Status, "example.com/ready").Status)
}

func TestPodConditionsOfTheVirtualSideStay(t *testing.T) {
	t.Parallel()
	s := newStory(t, nil)
	s.onHost(running)
	s.onHost(func(pod *corev1.Pod) {
		pod.Status.Conditions = append(pod.Status.Conditions, condition(corev1.PodResizePending, corev1.ConditionTrue))
	})
	s.settle()
	require.Contains(t, conditionTypes(s.virtual().Status.Conditions), corev1.PodResizePending)
	s.onVirtual(func(pod *corev1.Pod) {
		pod.Status.Conditions = append(pod.Status.Conditions, condition(corev1.DisruptionTarget, corev1.ConditionTrue), condition("example.com/mine", corev1.ConditionTrue))
	})
	s.onHost(func(pod *corev1.Pod) { pod.Status.Conditions = pod.Status.Conditions[:5] })
	require.Equal(t, shown, s.settle())
	got := conditionTypes(s.virtual().Status.Conditions)
	require.NotContains(t, got, corev1.PodResizePending)
	require.Contains(t, got, corev1.DisruptionTarget)
	require.Contains(t, got, corev1.PodConditionType("example.com/mine"))
}

func TestPodObservedGenerationCountsTheVirtualPods(t *testing.T) {
	t.Parallel()
	s := newStory(t, nil)
	s.onHost(running)
	s.onHost(func(pod *corev1.Pod) {
		pod.Generation = 7 // the host's webhooks and scheduler count too
		pod.Status.ObservedGeneration = 7
		pod.Status.Conditions[2].ObservedGeneration = 7
	})
	s.settle()
	require.EqualValues(t, 1, s.virtual().Status.ObservedGeneration)
	require.EqualValues(t, 1, podCondition(&s.virtual().Status, corev1.PodReady).ObservedGeneration)

	s.onVirtual(func(pod *corev1.Pod) { pod.Spec.Containers[0].Image = "nginx:2" })
	require.Equal(t, updated, s.settle())
	require.EqualValues(t, 1, s.virtual().Status.ObservedGeneration, "kubelet has not seen it")
	s.onHost(func(pod *corev1.Pod) { pod.Status.ObservedGeneration = pod.Generation })
	require.Equal(t, shown, s.settle())
	require.EqualValues(t, 2, s.virtual().Status.ObservedGeneration)
	require.EqualValues(t, 1, podCondition(&s.virtual().Status, corev1.PodReady).ObservedGeneration)
}

func TestPodThatHasEndedStaysEnded(t *testing.T) {
	t.Parallel()
	s := newStory(t, nil)
	s.onHost(running)
	s.settle()
	s.onVirtual(func(pod *corev1.Pod) { pod.Status.Phase, pod.Status.Reason = corev1.PodFailed, "Evicted" })
	require.Empty(t, s.settle())
	require.Equal(t, "Evicted", s.virtual().Status.Reason)
}

func TestPodClaimsAreTheVirtualSides(t *testing.T) {
	t.Parallel()
	s := newStory(t, nil)
	claims := []corev1.PodResourceClaimStatus{{Name: "gpu", ResourceClaimName: new("web-0-gpu")}}
	s.onVirtual(func(pod *corev1.Pod) { pod.Status.ResourceClaimStatuses = claims })
	s.onHost(running)
	s.settle()
	require.Empty(t, cmp.Diff(claims, s.virtual().Status.ResourceClaimStatuses))
}

func TestPodNominationEndsWithBinding(t *testing.T) {
	t.Parallel()
	s := newStory(t, nil)
	s.onHost(func(pod *corev1.Pod) {
		pod.Status.NominatedNodeName = "node-2"
		pod.Status.Conditions = []corev1.PodCondition{condition(corev1.PodScheduled, corev1.ConditionFalse)}
	})
	require.Equal(t, shown, s.settle())
	require.Equal(t, "node-2", s.virtual().Status.NominatedNodeName)
	s.onHost(running)
	s.onHost(func(pod *corev1.Pod) { pod.Status.NominatedNodeName = "node-2" })
	s.settle()
	require.Empty(t, s.virtual().Status.NominatedNodeName)
}

func TestPodDeletedByItsUserEndsOnTheHostFirst(t *testing.T) {
	t.Parallel()
	s := newStory(t, nil)
	s.onHost(running)
	s.settle()
	s.onVirtual(func(pod *corev1.Pod) {
		pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &metav1.Time{Time: time.Unix(1700000000, 0)}, new(int64(30))
	})
	require.Equal(t, "delete host grace 30s: virtual object is being deleted", s.settle())
	s.onVirtual(func(pod *corev1.Pod) { pod.DeletionGracePeriodSeconds = new(int64(5)) })
	require.Equal(t, "delete host grace 5s: virtual object is being deleted", s.settle())
	s.world.HostObjects = nil
	require.Equal(t, "delete virtual grace 0s: host object has ended", s.settle())
	require.Nil(t, s.virtual())
}

func TestPodForceDeletedByItsUserIsForcedOnTheHost(t *testing.T) {
	t.Parallel()
	s := newStory(t, nil)
	s.onHost(running)
	s.settle()
	s.world.VirtualObjects = s.world.VirtualObjects[:1]
	require.Equal(t, "delete host grace 0s: virtual object is gone", s.settle())
}

func TestPodDrainedOnTheHostEndsInTheVirtualClusterToo(t *testing.T) {
	t.Parallel()
	s := newStory(t, nil)
	s.onHost(running)
	s.settle()
	s.onHost(func(pod *corev1.Pod) {
		pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &metav1.Time{Time: time.Unix(1700000000, 0)}, new(int64(30))
		disruption := condition(corev1.DisruptionTarget, corev1.ConditionTrue)
		disruption.Reason = "EvictionByEvictionAPI"
		pod.Status.Conditions = append(pod.Status.Conditions, disruption)
	})
	require.Equal(t, shown+"; delete virtual grace 30s: host object is being deleted", s.settle(), "the reason comes first")
	require.Equal(t, "EvictionByEvictionAPI", podCondition(&s.virtual().Status, corev1.DisruptionTarget).Reason)
	s.world.HostObjects = nil
	require.Equal(t, "delete virtual grace 0s: host object has ended", s.settle())
}

func TestPodLostOnTheHostDoesNotComeBack(t *testing.T) {
	t.Parallel()
	s := newStory(t, nil)
	s.onHost(running)
	s.settle()
	s.world.HostObjects = nil
	require.Equal(t, "delete virtual grace 0s: host object is lost", s.settle())
}

func TestPodOnItsAuthorsNodeIsNotBoundAgain(t *testing.T) {
	t.Parallel()
	s := newStory(t, func(pod *corev1.Pod) {
		pod.Spec.NodeName = "node-1"
		pod.Status.Conditions = []corev1.PodCondition{condition(corev1.PodScheduled, corev1.ConditionFalse)} // says nothing of a host pod
	})
	s.onHost(running)
	require.Equal(t, shown, s.settle())
}

func TestPodConditionsKeepTheirGenerationWhereAnOlderHostCountsNone(t *testing.T) {
	t.Parallel()
	s := newStory(t, nil)
	s.onHost(running)
	s.onHost(func(pod *corev1.Pod) { pod.Status.Conditions[2].ObservedGeneration = pod.Generation })
	s.settle()
	s.onHost(func(pod *corev1.Pod) { pod.Status.Conditions[2].ObservedGeneration = 0 })
	require.Empty(t, s.settle(), "the tenant's API server would keep it, and each write would ask for another")
}
