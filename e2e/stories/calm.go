package stories

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// calm is a few pods that run while the world around them breaks.
type calm struct {
	world  *World
	space  string
	before map[string]containerLife
}

// containerLife is what a disturbed container could not keep.
type containerLife struct {
	Pod, HostPod, Container string
	Started                 metav1.Time
	Restarts                int32
}

// calmPods is how many.
const calmPods = 5

func newCalm(t *testing.T, w *World, space string) *calm {
	t.Helper()
	createDeployment(t, w, w.A, space, "calm", calmPods, "")
	waitReadyPods(t, w.A, space, "calm", calmPods)
	c := &calm{world: w, space: space}
	// The state is taken when both sides tell it.
	eventually(t, "the containers of both sides", func(context.Context) (bool, string) {
		c.before = c.lives(t)
		return len(c.before) == calmPods, fmt.Sprint(c.before)
	})
	return c
}

// lives are those of the pods, as the tenant and the host tell them.
func (c *calm) lives(t *testing.T) map[string]containerLife {
	t.Helper()
	out := map[string]containerLife{}
	for _, pod := range podsOf(t, c.world.A, c.space, "app=calm") {
		host := hostPodOf(t, c.world, c.world.A, &pod)
		virtualStatus, hostStatus := containerStatus(&pod, "main"), containerStatus(host, "main")
		if virtualStatus.State.Running == nil || cmp.Diff(virtualStatus.State, hostStatus.State) != "" || pod.DeletionTimestamp != nil {
			continue
		}
		out[pod.Name] = containerLife{
			Pod: string(pod.UID), HostPod: string(host.UID), Container: virtualStatus.ContainerID,
			Started: virtualStatus.State.Running.StartedAt, Restarts: virtualStatus.RestartCount,
		}
	}
	return out
}

// requireUntouched wants the very same containers, running on.
func (c *calm) requireUntouched(t *testing.T) {
	t.Helper()
	if diff := cmp.Diff(c.before, c.lives(t)); diff != "" {
		t.Fatalf("pods that ran before were disturbed (-before +now):\n%s", diff)
	}
}

// requireAgreement waits until the pods of a namespace are the same on both sides, one
// for one, and as far in their lives.
func requireAgreement(t *testing.T, w *World, space string) {
	t.Helper()
	eventually(t, "both sides to agree about "+space, func(ctx context.Context) (bool, string) {
		virtual, err := w.A.Client.CoreV1().Pods(space).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		host, err := w.Host.CoreV1().Pods(w.HostNamespace).List(ctx, metav1.ListOptions{
			LabelSelector: "nestling.dev/tenant=" + w.A.Name + ",nestling.dev/namespace=" + space})
		if err != nil {
			return false, err.Error()
		}
		phases := func(pods []corev1.Pod, uid func(corev1.Pod) string) map[string]string {
			out := map[string]string{}
			for _, pod := range pods {
				out[uid(pod)] = string(pod.Status.Phase) + " on " + pod.Spec.NodeName
			}
			return out
		}
		diff := cmp.Diff(
			phases(virtual.Items, func(pod corev1.Pod) string { return string(pod.UID) }),
			phases(host.Items, func(pod corev1.Pod) string { return pod.Annotations["nestling.dev/uid"] }))
		return diff == "" && len(virtual.Items) == len(host.Items), diff + fmt.Sprintf("%d virtual, %d host", len(virtual.Items), len(host.Items))
	})
}

func requireNoRestart(t *testing.T, w *World, tenant string, before int32) {
	t.Helper()
	if w.Real {
		require.Equal(t, before, controlPlaneRestarts(t, w, tenant), "the process of %s was restarted", tenant)
	}
}

// controlPlaneRestarts is how often kubelet has started a tenant's process again.
func controlPlaneRestarts(t *testing.T, w *World, tenant string) int32 {
	t.Helper()
	if !w.Real {
		return 0
	}
	pod, err := w.Host.CoreV1().Pods(w.HostNamespace).Get(t.Context(), tenant+"-0", metav1.GetOptions{})
	require.NoError(t, err)
	return containerStatus(pod, "nestling").RestartCount
}
