package preflight

import (
	"sync"
	"time"
)

// breaker spares requests the wait for a host that does not answer: after some failures
// in a row it is open for a while, and then lets one request find out. One failure alone may
// be of the object that was asked about (a policy of the host's that takes its time), and must
// not let all others pass unasked.
type breaker struct {
	failures int // in a row, that open it
	pause    time.Duration
	now      func() time.Time

	mu     sync.Mutex
	failed int       // in a row, until now
	until  time.Time // zero while closed
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
		b.failed, b.until = 0, time.Time{}
		return
	}
	if b.failed++; b.failed >= b.failures {
		b.until = b.now().Add(b.pause)
	}
}
