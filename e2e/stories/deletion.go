package stories

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/syncer/naming"
)

func deletion() []Story {
	return []Story{
		{Name: "a pod is deleted with its grace on both sides", Run: gracefulDeletion},
		{Name: "a shorter grace reaches a pod that is being deleted", Run: shorterGrace},
		{Name: "a pod that is deleted by force is gone at once, and soon on the host", Run: forcedDeletion},
	}
}

// stubborn takes seconds to end when it is told to, and longer than anybody waits.
func stubborn(t *testing.T, w *World, space, name, seconds, grace string) *corev1.Pod {
	t.Helper()
	return runPod(t, w, w.A, space, `
metadata: {name: `+name+`, annotations: {simulated-node/stops-after: `+seconds+`s}}
spec:
  terminationGracePeriodSeconds: `+grace+`
  containers: [{name: main, image: IMAGE, command: [sh, -c, "trap 'sleep `+seconds+`; exit' TERM; while :; do sleep 1; done"]}]
`)
}

func gracefulDeletion(t *testing.T, w *World) {
	space := namespace(t, w.A, "grace")
	const grace = 4 * time.Minute
	pod := stubborn(t, w, space, "slow", "3", fmt.Sprint(grace.Seconds()))
	// Watched, since between two looks it may all be over.
	virtual, onHost := watchPods(t, w.A, space), watchPods(t, &Tenant{Client: w.Host}, w.HostNamespace)
	host := hostPodOf(t, w, w.A, pod)
	begin := time.Now()
	require.NoError(t, w.A.Client.CoreV1().Pods(space).Delete(t.Context(), pod.Name, metav1.DeleteOptions{}))
	// While it ends it can be seen; it goes when the container has ended, not when grace has.
	require.EqualValues(t, grace.Seconds(), virtual.grace(t, pod.UID))
	require.EqualValues(t, grace.Seconds(), onHost.grace(t, host.UID))
	waitGone(t, w, space, pod)
	require.Greater(t, time.Since(begin), 2*time.Second)
	require.Less(t, time.Since(begin), grace)
}

func shorterGrace(t *testing.T, w *World) {
	space := namespace(t, w.A, "shorter")
	pod := stubborn(t, w, space, "slow", "25", "60") // time enough for all that follows
	pods := w.A.Client.CoreV1().Pods(space)
	require.NoError(t, pods.Delete(t.Context(), pod.Name, metav1.DeleteOptions{}))
	eventually(t, "the deletion on the host", func(ctx context.Context) (bool, string) {
		host, err := w.Host.CoreV1().Pods(w.HostNamespace).Get(ctx, naming.Host(w.A.Name, space, pod.Name), metav1.GetOptions{})
		return err == nil && host.DeletionTimestamp != nil, errText(err)
	})
	require.NoError(t, pods.Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(2))}))
	eventually(t, "the shorter grace on the host", func(ctx context.Context) (bool, string) {
		host, err := w.Host.CoreV1().Pods(w.HostNamespace).Get(ctx, naming.Host(w.A.Name, space, pod.Name), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, ""
		}
		return err == nil && host.DeletionGracePeriodSeconds != nil && *host.DeletionGracePeriodSeconds <= 2, errText(err)
	})
	// A kubelet that has begun to wait does not look again, on any cluster.
	waitGone(t, w, space, pod)
}

func forcedDeletion(t *testing.T, w *World) {
	space := namespace(t, w.A, "force")
	pod := stubborn(t, w, space, "slow", "100", "100")
	pods := w.A.Client.CoreV1().Pods(space)
	require.NoError(t, pods.Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}))
	_, err := pods.Get(t.Context(), pod.Name, metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "%v", err)
	waitGone(t, w, space, pod)
	// The name is free for a pod of its own life.
	again := runPod(t, w, w.A, space, `
metadata: {name: slow}
spec: {containers: [{name: main, image: IMAGE}]}
`)
	require.NotEqual(t, pod.UID, again.UID)
}

// waitGone waits until a pod is gone on both sides.
func waitGone(t *testing.T, w *World, space string, pod *corev1.Pod) {
	t.Helper()
	eventually(t, "the end of pod "+pod.Name, func(ctx context.Context) (bool, string) {
		_, virtual := w.A.Client.CoreV1().Pods(space).Get(ctx, pod.Name, metav1.GetOptions{})
		_, host := w.Host.CoreV1().Pods(w.HostNamespace).Get(ctx, naming.Host(w.A.Name, space, pod.Name), metav1.GetOptions{})
		return apierrors.IsNotFound(virtual) && apierrors.IsNotFound(host), "virtual: " + errText(virtual) + ", host: " + errText(host)
	})
}
