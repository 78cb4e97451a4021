package tokens

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// cacheLag is how far the cache may be behind our own writes before it is believed
// against them.
const cacheLag = 30 * time.Second

// written remembers what was written last until the cache shows it, so that a look
// in between does not ask for the same tokens again. Losing it costs a few requests.
type written struct {
	mu      sync.Mutex
	secrets map[string]writtenSecret // by name
}

type writtenSecret struct {
	secret *corev1.Secret
	at     time.Time
}

func newWritten() *written { return &written{secrets: map[string]writtenSecret{}} }

func (w *written) set(secret *corev1.Secret, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets[secret.Name] = writtenSecret{secret, now}
}

func (w *written) forget(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.secrets, name)
}

// newest is what was written under name if the cache, which holds cached (nil: nothing),
// does not show it yet; otherwise cached. It reports whether the cache is behind.
func (w *written) newest(name string, cached *corev1.Secret, now time.Time) (secret *corev1.Secret, behind bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last, ok := w.secrets[name]
	if !ok {
		return cached, false
	}
	shown := cached != nil && cached.UID == last.secret.UID &&
		cached.Annotations[annotationLifetimes] == last.secret.Annotations[annotationLifetimes]
	if shown || now.Sub(last.at) > cacheLag {
		delete(w.secrets, name)
		return cached, false
	}
	return last.secret, true
}
