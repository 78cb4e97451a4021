package controlplane

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"nestling.dev/nestling/pkg/pki"
)

const (
	// servingLifetime is how long a serving certificate lives: some clients trust none
	// that lives much longer.
	servingLifetime = 365 * 24 * time.Hour
	// servingRenewal is how much of that is left when it is replaced.
	servingRenewal = servingLifetime / 4
	// servingRetry is the time between two attempts to replace it.
	servingRetry = time.Minute
)

// servingCertificate is that of the API server. Its names can change, and it is renewed,
// while the server serves: connections that are open go on, new ones see the new one.
type servingCertificate struct {
	issue func(pki.Leaf) (certPEM, keyPEM []byte, err error)
	leaf  func(names []string) pki.Leaf // with these names over those that are always in it
	clock clock.Clock

	mu        sync.Mutex
	names     []string
	cert, key []byte
	renewAt   time.Time
	listeners []dynamiccertificates.Listener
}

var _ dynamiccertificates.CertKeyContentProvider = (*servingCertificate)(nil)

func newServingCertificate(opts APIServerOptions, clock clock.Clock) (*servingCertificate, error) {
	c := &servingCertificate{issue: opts.PKI.Issue, leaf: opts.servingLeaf, clock: clock}
	return c, c.replace(opts.SANs)
}

// Name is what upstream's log calls it.
func (c *servingCertificate) Name() string { return "serving-cert" }

// CurrentCertKeyContent is what new connections see.
func (c *servingCertificate) CurrentCertKeyContent() (certPEM, keyPEM []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cert, c.key
}

// AddListener is told of each replacement.
func (c *servingCertificate) AddListener(listener dynamiccertificates.Listener) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners = append(c.listeners, listener)
}

// expires is when the one that is in use would end.
func (c *servingCertificate) expires() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.renewAt.Add(servingRenewal)
}

// setNames replaces the certificate if its names differ.
func (c *servingCertificate) setNames(names []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	if slices.Equal(names, c.names) {
		return nil
	}
	return c.replace(names)
}

// renew replaces the certificate if it is time, and returns when to call again.
func (c *servingCertificate) renew(ctx context.Context) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clock.Now().Before(c.renewAt) {
		return c.renewAt.Sub(c.clock.Now())
	}
	if err := c.replace(c.names); err != nil {
		klog.FromContext(ctx).Error(err, "Cannot renew a certificate yet")
		return servingRetry
	}
	return c.renewAt.Sub(c.clock.Now())
}

// replace is called with the lock held.
func (c *servingCertificate) replace(names []string) error {
	now := c.clock.Now()
	leaf := c.leaf(names)
	leaf.Lifetime, leaf.Now = servingLifetime, now
	cert, key, err := c.issue(leaf)
	if err != nil {
		return fmt.Errorf("issue the serving certificate: %w", err)
	}
	c.names, c.cert, c.key, c.renewAt = names, cert, key, now.Add(servingLifetime-servingRenewal)
	for _, listener := range c.listeners {
		listener.Enqueue()
	}
	return nil
}

// keep renews it in time, until ctx ends.
func (c *servingCertificate) keep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.clock.After(c.renew(ctx)):
		}
	}
}
