package turns

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// turns are locks by key. The zero value is ready.
type turns struct {
	mu   sync.Mutex
	keys map[string]*turn
}

type turn struct {
	lock  *semaphore.Weighted
	users int // that have the lock or wait for it
}

// take waits until nobody else has the key's turn, for patience at most: a webhook of the
// tenant's may write the very object that it is asked about, and would wait for itself. Who
// has waited in vain goes on without, as upstream always does. give is never nil.
func (t *turns) take(ctx context.Context, key string, patience time.Duration) (give func()) {
	one := t.join(key)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := one.lock.Acquire(ctx, 1)
	return func() {
		if err == nil {
			one.lock.Release(1)
		}
		t.leave(key, one)
	}
}

func (t *turns) join(key string) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	one := t.keys[key]
	if one == nil {
		one = &turn{lock: semaphore.NewWeighted(1)}
		if t.keys == nil {
			t.keys = map[string]*turn{}
		}
		t.keys[key] = one
	}
	one.users++
	return one
}

func (t *turns) leave(key string, one *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if one.users--; one.users == 0 {
		delete(t.keys, key)
	}
}
