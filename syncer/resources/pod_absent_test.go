package resources

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/syncer/resource"
)

func TestAPodSaysWhyItIsNotOnTheHost(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	said := absentPod(resource.Env{Now: start}, &corev1.Pod{}, "HostRejected", "no")
	for name, test := range map[string]struct {
		after           time.Duration
		reason, message string
		written         bool
		since           time.Time
	}{
		"what is said already is not said again":     {time.Hour, "HostRejected", "no", false, start},
		"another reason is said at once":             {time.Second, "HostSyncWaiting", "no", true, start},
		"other words of the same reason wait":        {absentPause - 1, "HostRejected", "no, 2nd attempt", false, start},
		"and are said after a while":                 {absentPause, "HostRejected", "no, 3rd attempt", true, start},
		"words without end are cut":                  {absentPause, "HostRejected", strings.Repeat("no ", absentMessage), true, start},
		"the same words in a process that is slower": {0, "HostRejected", "no", false, start},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := absentPod(resource.Env{Now: start.Add(test.after)}, said.DeepCopy(), test.reason, test.message)
			condition := podCondition(&got.Status, PodHostSynced)
			require.Equal(t, corev1.ConditionFalse, condition.Status)
			require.Equal(t, test.since, condition.LastTransitionTime.Time, "it is absent since then")
			require.LessOrEqual(t, len(condition.Message), absentMessage)
			if test.written {
				require.Equal(t, test.reason, condition.Reason)
				require.True(t, strings.HasPrefix(test.message, condition.Message))
			} else {
				require.Equal(t, said, got)
			}
		})
	}
}

func TestAPodThatSaysThatItIsAbsentHasNotBegun(t *testing.T) {
	t.Parallel()
	pod := absentPod(resource.Env{Now: time.Now()}, &corev1.Pod{}, "HostRejected", "no")
	require.False(t, podBegan(pod))
	pod.Status.Conditions[0].Status = corev1.ConditionTrue
	require.True(t, podBegan(pod))
}

func TestWhatOthersSayOfAPodStays(t *testing.T) {
	t.Parallel()
	mine := corev1.PodCondition{Type: "example.com/mine", Status: corev1.ConditionTrue, LastTransitionTime: metav1.Unix(1, 0)}
	pod := absentPod(resource.Env{Now: time.Now()}, &corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{mine}}}, "HostRejected", "no")
	require.Equal(t, mine, pod.Status.Conditions[0])
	require.Len(t, pod.Status.Conditions, 3)
}
