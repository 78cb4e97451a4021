package stories

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
)

// crash is the end of what the tenant stands on: its process, and the host's API.
func crash() []Story {
	return []Story{
		{Name: "a process that is killed while pods are made loses and doubles none", Alone: true, Run: killed},
		{Name: "a restart in order takes seconds, and disturbs no pod", Alone: true, Run: restarted},
		{Name: "a host API that is away is not missed by the tenant's, and sync catches up", Alone: true, Run: hostAPIAway},
	}
}

const (
	// crowd is how many pods are being made when the process is killed.
	crowd = 50
	// makers make them, side by side.
	makers = 5
	// stopLimit is the promise of the process.
	stopLimit = 10 * time.Second
)

func killed(t *testing.T, w *World) {
	space := namespace(t, w.A, "killed")
	calm := newCalm(t, w, space)

	acknowledged := makeCrowd(t, w, space, crowd/2, func() {
		begin := time.Now()
		require.NoError(t, w.Kill(t.Context(), w.A.Name))
		waitAPI(t, w.A)
		w.Report(fmt.Sprintf("API back %.1f s after SIGKILL while %d pods were being created", time.Since(begin).Seconds(), crowd))
	})
	pods := waitReadyPods(t, w.A, space, "crowd", crowd)
	for _, pod := range pods {
		if uid, ok := acknowledged[pod.Name]; ok {
			require.Equal(t, uid, pod.UID, "pod %s was acknowledged, and is another now", pod.Name)
			delete(acknowledged, pod.Name)
		}
	}
	require.Empty(t, acknowledged, "these were acknowledged, and are lost")
	requireAgreement(t, w, space)
	calm.requireUntouched(t)

	// The same while they are deleted.
	deleted := make(chan error, 1)
	go func() {
		deleted <- w.A.Client.CoreV1().Pods(space).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "app=crowd"})
	}()
	eventually(t, "the first deletions", func(ctx context.Context) (bool, string) {
		list, err := w.A.Client.CoreV1().Pods(space).List(ctx, metav1.ListOptions{LabelSelector: "app=crowd"})
		return err == nil && (len(list.Items) < crowd || slices.ContainsFunc(list.Items, func(pod corev1.Pod) bool { return pod.DeletionTimestamp != nil })), errText(err)
	})
	require.NoError(t, w.Kill(t.Context(), w.A.Name))
	<-deleted // it may have failed: its server was killed
	waitAPI(t, w.A)
	err := w.A.Client.CoreV1().Pods(space).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "app=crowd"})
	require.NoError(t, err)
	waitReadyPods(t, w.A, space, "crowd", 0)
	requireAgreement(t, w, space)
	calm.requireUntouched(t)
}

// makeCrowd creates the crowd, calls disturb once when some are acknowledged, and goes
// on as a patient user does. It returns the UIDs of what was acknowledged.
func makeCrowd(t *testing.T, w *World, space string, some int, disturb func()) map[string]types.UID {
	t.Helper()
	template := decode[corev1.Pod](t, w, `
metadata: {labels: {app: crowd}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: IMAGE, command: IDLE}]
`)
	var mu sync.Mutex
	acknowledged := map[string]types.UID{}
	enough := make(chan struct{})
	numbers := make(chan int, crowd)
	for i := range crowd {
		numbers <- i
	}
	close(numbers)
	failures := make(chan error, makers)
	for range makers {
		go func() {
			var failure error
			for number := range numbers {
				pod := template.DeepCopy()
				pod.Name = fmt.Sprintf("crowd-%02d", number)
				made, err := createPatiently(t.Context(), w.A, space, pod)
				failure = errors.Join(failure, err)
				mu.Lock()
				if made != nil {
					acknowledged[made.Name] = made.UID
					if len(acknowledged) == some {
						close(enough)
					}
				}
				mu.Unlock()
			}
			failures <- failure
		}()
	}
	select {
	case <-enough:
	case <-time.After(patience):
		require.Fail(t, "the crowd does not come together")
	}
	disturb()
	for range makers {
		require.NoError(t, <-failures)
	}
	return acknowledged
}

// createPatiently tries until the pod is there. It is nil if an earlier try had made it
// and its answer was lost.
func createPatiently(ctx context.Context, tenant *Tenant, space string, pod *corev1.Pod) (made *corev1.Pod, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var last error
	tried := false
	err = wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		made, last = tenant.Client.CoreV1().Pods(space).Create(ctx, pod, metav1.CreateOptions{})
		if tried && apierrors.IsAlreadyExists(last) {
			made = nil
			return true, nil
		}
		tried = true
		return last == nil, nil
	})
	if err != nil {
		return nil, fmt.Errorf("create pod %s: %w", pod.Name, errors.Join(err, last))
	}
	return made, nil
}

func restarted(t *testing.T, w *World) {
	space := namespace(t, w.A, "restarted")
	calm := newCalm(t, w, space)
	// Somebody always watches.
	for range 3 {
		watched, err := w.A.Client.CoreV1().Pods("").Watch(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		defer watched.Stop()
	}
	begin := time.Now()
	stopped, err := w.Restart(t.Context(), w.A.Name)
	require.NoError(t, err)
	waitAPI(t, w.A)
	w.Report(fmt.Sprintf("Stop in order with open watches: %.1f s; API back %.1f s after its begin", stopped.Seconds(), time.Since(begin).Seconds()))
	require.Less(t, stopped, stopLimit)
	calm.requireUntouched(t)
	requireAgreement(t, w, space)
	// And the new process works.
	createDeployment(t, w, w.A, space, "after", 1, "")
	waitReadyPods(t, w.A, space, "after", 1)
	calm.requireUntouched(t)
}

// waitAPI waits until a tenant's API answers.
func waitAPI(t *testing.T, tenant *Tenant) {
	t.Helper()
	eventually(t, "the API of "+tenant.Name, func(ctx context.Context) (bool, string) {
		err := tenant.Client.CoreV1().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
		return err == nil, errText(err)
	})
}
