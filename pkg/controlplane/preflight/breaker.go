package preflight

import (
	"sync"
	"time"
)

// breaker spares requests the wait for a host that does not answer: after a failure it
// is open for a while, and then lets one request find out.
type breaker struct {
	pause time.Duration
	now   func() time.Time

	mu    sync.Mutex
	until time.Time // zero while closed
}

// Open reports whether the host is not to be asked. The one that it tells false once the
// pause is over is the only one until it has reported.
func (b *breaker) Open() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until.IsZero() {
		return false
	}
	now := b.now()
	if now.Before(b.until) {
		return true
	}
	b.until = now.Add(b.pause)
	return false
}

// Report is what came of a request.
func (b *breaker) Report(answered bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if answered {
		b.until = time.Time{}
	} else {
		b.until = b.now().Add(b.pause)
	}
}
