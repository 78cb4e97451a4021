package hostmetrics

import (
	"context"
	"sync"
	"time"
)

const (
	// maxAge is how long one answer of the host serves all that ask. Metrics change every
	// 15 s where metrics-server has its defaults.
	maxAge = 5 * time.Second
	// readTimeout bounds one request to the host.
	readTimeout = 10 * time.Second
)

// reading is an answer of the host that is shared: there is one request at a time, and
// none as long as the last answer is fresh. A refusal is an answer too.
type reading[T any] struct {
	read func(context.Context) (T, error)
	now  func() time.Time

	mu   sync.Mutex
	last *answer[T]
}

type answer[T any] struct {
	since time.Time
	done  chan struct{} // closed when value and err are set
	value T
	err   error
}

// get returns what must not be changed.
func (r *reading[T]) get(ctx context.Context) (T, error) {
	r.mu.Lock()
	current := r.last
	mine := current == nil || current.isDone() && r.now().Sub(current.since) >= maxAge
	if mine {
		current = &answer[T]{since: r.now(), done: make(chan struct{})}
		r.last = current
	}
	r.mu.Unlock()
	if mine {
		// Others wait for it, so that it goes on when this one's user has left.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
		defer cancel()
		defer close(current.done)
		current.value, current.err = r.read(ctx)
		return current.value, current.err
	}
	select {
	case <-current.done:
		return current.value, current.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

func (a *answer[T]) isDone() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}
