package engine

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"nestling.dev/nestling/syncer/resource"
)

// knock is how often a host that does not answer is tried again. An informer's own
// back-off would grow to half a minute and go on after the host is back.
const knock = time.Second

// persistent calls ask until it is answered, be it by an error of the API, or ctx ends.
// It calls back once the host has answered after it had not.
func persistent[T any](ctx context.Context, back func(), ask func(context.Context) (T, error)) (T, error) {
	for away := false; ; away = true {
		out, err := ask(ctx)
		if answered(err) || ctx.Err() != nil {
			if away && err == nil {
				back()
			}
			return out, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(knock):
		}
	}
}

// answered reports whether a request reached an API server that was able to say something.
// An error of our own, as a request that can't be encoded, is as good as an answer: to
// ask again would not help, and nobody would hear of it.
func answered(err error) bool {
	var transport *url.Error
	var network net.Error
	return err == nil || !errors.As(err, &transport) && !errors.As(err, &network) && !apierrors.IsServiceUnavailable(err) &&
		!errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, context.DeadlineExceeded)
}

// troubled are the keys of a kind whose last attempt failed.
type troubled struct {
	mu   sync.Mutex
	keys map[resource.Key]struct{}
}

func (t *troubled) Add(key resource.Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.keys == nil {
		t.keys = map[resource.Key]struct{}{}
	}
	t.keys[key] = struct{}{}
}

func (t *troubled) Remove(key resource.Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.keys, key)
}

// Len is how many there are.
func (t *troubled) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.keys)
}

// Take returns all keys and forgets them.
func (t *troubled) Take() []resource.Key {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]resource.Key, 0, len(t.keys))
	for key := range t.keys {
		out = append(out, key)
	}
	t.keys = nil
	return out
}

// hostIsBack looks again, at once, at everything that failed while the host was away.
func (e *Engine) hostIsBack() {
	e.skew.hostIsBack()
	for _, kind := range e.order {
		for _, key := range kind.troubled.Take() {
			kind.queue.Forget(key)
			kind.queue.Add(key)
		}
	}
	if e.options.HostIsBack != nil {
		e.options.HostIsBack()
	}
}
