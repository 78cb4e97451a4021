package work

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/util/workqueue"

	"nestling.dev/nestling/syncer/resource"
)

func TestAFailedAttemptIsTriedAgainAndAGoodOneForgotten(t *testing.T) {
	t.Parallel()
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[resource.Key](time.Millisecond, time.Second))
	key := resource.Key{Namespace: "a", Name: "b"}
	attempts, failures, done := 0, 0, make(chan struct{})
	loop := Loop{
		Queue: queue,
		Attempt: func(ctx context.Context, got resource.Key) (time.Duration, error) {
			_, bounded := ctx.Deadline()
			require.True(t, bounded)
			require.Equal(t, key, got)
			switch attempts++; attempts {
			case 1, 2:
				return 0, errors.New("not yet")
			case 3:
				return time.Millisecond, nil // and once more
			default:
				queue.ShutDown()
				return 0, nil
			}
		},
		Failed: func(context.Context, resource.Key, error) { failures++ },
	}
	queue.Add(key)
	go func() { loop.Run(t.Context()); close(done) }()
	<-done
	require.Equal(t, 4, attempts)
	require.Equal(t, 2, failures)
	require.Zero(t, queue.NumRequeues(key))
}

func TestNothingIsTriedAgainWhenAllStops(t *testing.T) {
	t.Parallel()
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[resource.Key]())
	ctx, cancel := context.WithCancel(t.Context())
	Loop{
		Queue: queue,
		Attempt: func(context.Context, resource.Key) (time.Duration, error) {
			cancel()
			queue.ShutDown()
			return 0, context.Canceled
		},
		Failed: func(context.Context, resource.Key, error) { t.Error("it failed because all stops") },
	}.runWith(ctx, resource.Key{Name: "a"})
	require.Zero(t, queue.NumRequeues(resource.Key{Name: "a"}))
}

// runWith runs on one key.
func (l Loop) runWith(ctx context.Context, key resource.Key) {
	l.Queue.Add(key)
	l.Run(ctx)
}
