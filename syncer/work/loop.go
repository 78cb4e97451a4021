// Package work is the loop that works a queue of keys: one attempt at a time for each, a
// back-off for those that fail, and another look when an attempt asks for one.
package work

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"

	"nestling.dev/nestling/syncer/resource"
)

// attemptTimeout bounds one attempt, all its requests included.
const attemptTimeout = 30 * time.Second

// Queue of keys.
type Queue = workqueue.TypedRateLimitingInterface[resource.Key]

// Loop works a queue.
type Loop struct {
	Queue Queue
	// Attempt brings one object in line. It returns after what time it wants to be called
	// again though nothing changes; 0: it need not.
	Attempt func(ctx context.Context, key resource.Key) (again time.Duration, err error)
	// Failed is told of an attempt that failed, and will be tried again.
	Failed func(ctx context.Context, key resource.Key, err error)
}

// Run works until the queue is shut down. It may run many times at once.
func (l Loop) Run(ctx context.Context) {
	for {
		key, shutdown := l.Queue.Get()
		if shutdown {
			return
		}
		l.work(ctx, key)
		l.Queue.Done(key)
	}
}

func (l Loop) work(ctx context.Context, key resource.Key) {
	attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	again, err := l.Attempt(attempt, key)
	switch {
	case err != nil && ctx.Err() != nil: // stopping
	case err != nil:
		l.Queue.AddRateLimited(key)
		l.Failed(ctx, key, err)
	case again > 0:
		l.Queue.Forget(key)
		l.Queue.AddAfter(key, again)
	default:
		l.Queue.Forget(key)
	}
}

// IsOutcome reports whether err is the ordinary result of two sides that move at once:
// worth another look, not a line in the log.
func IsOutcome(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsAlreadyExists(err)
}
