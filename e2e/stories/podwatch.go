package stories

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// podWatch remembers every state of the pods of a namespace: what polling would miss.
type podWatch struct {
	mu     sync.Mutex
	states map[types.UID][]*corev1.Pod
}

func watchPods(t *testing.T, tenant *Tenant, space string) *podWatch {
	t.Helper()
	seen := &podWatch{states: map[types.UID][]*corev1.Pod{}}
	watched, err := tenant.Client.CoreV1().Pods(space).Watch(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	t.Cleanup(watched.Stop)
	go func() {
		for event := range watched.ResultChan() {
			if pod, ok := event.Object.(*corev1.Pod); ok {
				seen.mu.Lock()
				seen.states[pod.UID] = append(seen.states[pod.UID], pod)
				seen.mu.Unlock()
			}
		}
	}()
	return seen
}

// find waits for a state.
func (s *podWatch) find(t *testing.T, uid types.UID, what string, is func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	var found *corev1.Pod
	eventually(t, what, func(context.Context) (bool, string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, pod := range s.states[uid] {
			if is(pod) {
				found = pod
				return true, ""
			}
		}
		return false, fmt.Sprintf("%d states of the pod", len(s.states[uid]))
	})
	return found
}

// grace is that with which a pod was first seen to be deleted, in seconds.
func (s *podWatch) grace(t *testing.T, uid types.UID) int64 {
	t.Helper()
	pod := s.find(t, uid, "a deletion", func(pod *corev1.Pod) bool { return pod.DeletionTimestamp != nil })
	require.NotNil(t, pod.DeletionGracePeriodSeconds)
	return *pod.DeletionGracePeriodSeconds
}
