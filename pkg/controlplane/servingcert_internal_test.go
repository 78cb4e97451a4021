package controlplane

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clocktesting "k8s.io/utils/clock/testing"

	"nestling.dev/nestling/pkg/pki"
)

// told counts what a listener hears.
type told int

func (l *told) Enqueue() { *l++ }

func current(t *testing.T, c *servingCertificate) *x509.Certificate {
	t.Helper()
	text, _ := c.CurrentCertKeyContent()
	block, _ := pem.Decode(text)
	certificate, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	return certificate
}

func TestServingCertificateIsRenewedInTimeAndWhenItsNamesChange(t *testing.T) {
	t.Parallel()
	start := time.Now().Truncate(time.Second)
	clock := clocktesting.NewFakeClock(start)
	bundle, err := pki.New(start)
	require.NoError(t, err)
	opts := APIServerOptions{PKI: bundle, AdvertiseAddress: net.IPv4(192, 0, 2, 1), ServiceIP: net.IPv4(10, 0, 0, 1), BindAddress: net.IPv4zero, SANs: []string{"a.example"}}
	c, err := newServingCertificate(opts, clock)
	require.NoError(t, err)
	var heard told
	c.AddListener(&heard)
	first := current(t, c)
	require.Contains(t, first.DNSNames, "a.example")

	// At any time of the authority's life there is a certificate that is valid for a while.
	for range 20 {
		wait := c.renew(t.Context())
		require.Positive(t, wait)
		require.Greater(t, current(t, c).NotAfter.Sub(clock.Now()), wait+servingRenewal-time.Second)
		clock.Step(wait)
		if clock.Since(start) > 9*365*24*time.Hour {
			break
		}
	}
	require.Greater(t, int(heard), 10)

	heard = 0
	require.NoError(t, c.setNames([]string{"198.51.100.7", "b.example", "b.example"}))
	require.NoError(t, c.setNames([]string{"b.example", "198.51.100.7"}), "the same")
	require.Equal(t, 1, int(heard))
	require.NoError(t, current(t, c).VerifyHostname("198.51.100.7"))
	require.NoError(t, current(t, c).VerifyHostname("kubernetes.default.svc"))
	require.Error(t, current(t, c).VerifyHostname("a.example"))

	// What cannot be issued leaves what is there, and is tried again.
	c.issue = func(pki.Leaf) ([]byte, []byte, error) { return nil, nil, errors.New("no entropy") }
	require.Error(t, c.setNames([]string{"c.example"}))
	require.NoError(t, current(t, c).VerifyHostname("b.example"))
	c.issue = bundle.Issue
	require.NoError(t, c.setNames([]string{"c.example"}))
	require.NoError(t, current(t, c).VerifyHostname("c.example"))
}
