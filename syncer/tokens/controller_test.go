package tokens

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/pkg/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// The whole controller at work: a pod comes, its token is renewed, it goes.
func TestStory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 3)
	go func() { w.pods.RunWithContext(ctx); ended <- nil }()
	go func() { w.secrets.RunWithContext(ctx); ended <- nil }()
	go func() { ended <- w.controller.Run(ctx) }()
	holds := func(token string) func() bool {
		return func() bool {
			secret := w.secret()
			return token == "" && secret == nil || secret != nil && values(secret)["access.0"] == token
		}
	}

	pods := w.virtual.CoreV1().Pods("default")
	_, err := pods.Create(ctx, podWith("uid-1", hour()), metav1.CreateOptions{})
	require.NoError(t, err)
	require.Eventually(t, holds("token-1"), 10*time.Second, 5*time.Millisecond, "the pod gets its token")

	require.Eventually(t, func() bool {
		w.clock.Step(time.Minute) // small steps: the queue may not wait for the renewal yet
		return holds("token-2")()
	}, 10*time.Second, 5*time.Millisecond, "the token is renewed")

	require.NoError(t, pods.Delete(ctx, "web-0", metav1.DeleteOptions{}))
	require.Eventually(t, func() bool {
		w.clock.Step(time.Second)
		return holds("")()
	}, 10*time.Second, 5*time.Millisecond, "the secret goes with the pod, a little later")
	stop()
	for range 3 {
		require.NoError(t, <-ended)
	}
}

func TestNothingIsWrittenBeforeBothCachesAreFilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.virtual.CoreV1().Pods("default").Create(t.Context(), podWith("uid-1", hour()), metav1.CreateOptions{})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { w.pods.RunWithContext(ctx); ended <- nil }()
	go func() { ended <- w.controller.Run(ctx) }()
	require.Eventually(t, w.pods.HasSynced, 10*time.Second, 5*time.Millisecond)
	stop()
	for range 2 {
		require.NoError(t, <-ended)
	}
	require.Empty(t, w.requests)
}
