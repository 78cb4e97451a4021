package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"nestling.dev/nestling/pkg/pki"
)

func newBundle(t *testing.T) *pki.Bundle {
	t.Helper()
	bundle, err := pki.New(time.Now())
	require.NoError(t, err)
	return bundle
}

func parse(t *testing.T, certPEM []byte) *x509.Certificate {
	t.Helper()
	block, rest := pem.Decode(certPEM)
	require.NotNil(t, block)
	require.Empty(t, rest)
	cert, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	return cert
}

func TestIdentitySurvivesEncodeAndDecode(t *testing.T) {
	t.Parallel()
	bundle := newBundle(t)
	decoded, err := pki.Decode(bundle.Encode())
	require.NoError(t, err)

	require.Equal(t, bundle.Identity(), decoded.Identity())
	require.True(t, bundle.Equal(decoded))
	require.Empty(t, cmp.Diff(bundle.Encode(), decoded.Encode()))

	other := newBundle(t)
	require.NotEqual(t, bundle.Identity(), other.Identity())
	require.False(t, bundle.Equal(other))
}

func TestServingCertificateIsTrustedUnderEachOfItsNames(t *testing.T) {
	t.Parallel()
	bundle := newBundle(t)
	certPEM, keyPEM, err := bundle.Issue(pki.Leaf{
		CommonName: "kube-apiserver",
		DNSNames:   []string{"kubernetes", "kubernetes.default.svc.cluster.local"},
		IPs:        []net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP("fd00::1")},
		Server:     true,
		Lifetime:   time.Hour,
	})
	require.NoError(t, err)
	_, err = tls.X509KeyPair(certPEM, keyPEM)
	require.NoError(t, err)

	cert := parse(t, certPEM)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(bundle.CAPEM()))
	for _, name := range []string{"kubernetes", "kubernetes.default.svc.cluster.local", "127.0.0.1", "fd00::1"} {
		_, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		require.NoError(t, err, name)
	}
	_, err = cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: "elsewhere"})
	require.Error(t, err)
	_, err = cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	require.Error(t, err, "a server's certificate is no client's")
	require.WithinDuration(t, time.Now().Add(time.Hour), cert.NotAfter, time.Minute)
}

func TestClientCertificateNamesUserAndGroups(t *testing.T) {
	t.Parallel()
	bundle := newBundle(t)
	certPEM, _, err := bundle.Issue(pki.Leaf{CommonName: "jane", Organizations: []string{"dev", "ops"}, Client: true})
	require.NoError(t, err)
	cert := parse(t, certPEM)
	require.Equal(t, "jane", cert.Subject.CommonName)
	require.ElementsMatch(t, []string{"dev", "ops"}, cert.Subject.Organization)
	require.Equal(t, parse(t, bundle.CAPEM()).NotAfter, cert.NotAfter, "no lifetime means the authority's")

	_, _, err = bundle.Issue(pki.Leaf{Client: true})
	require.EqualError(t, err, "pki: a certificate needs a common name")
}

func TestFrontProxyIsAnAuthorityOfItsOwn(t *testing.T) {
	t.Parallel()
	bundle := newBundle(t)
	certPEM, _, err := bundle.IssueFrontProxy(pki.Leaf{CommonName: "front-proxy", Client: true})
	require.NoError(t, err)
	cert := parse(t, certPEM)
	require.NoError(t, cert.CheckSignatureFrom(parse(t, bundle.FrontProxyCAPEM())))
	require.Error(t, cert.CheckSignatureFrom(parse(t, bundle.CAPEM())), "it must not pass as a user")
}

func TestDecodeNamesTheBadPart(t *testing.T) {
	t.Parallel()
	good, other := newBundle(t).Encode(), newBundle(t).Encode()
	tests := map[string]struct {
		change  func(data map[string][]byte)
		message string
	}{
		"a certificate is missing":        {func(d map[string][]byte) { delete(d, "ca.crt") }, "pki: ca.crt: missing, or not PEM"},
		"a key is missing":                {func(d map[string][]byte) { delete(d, "front-proxy-ca.key") }, "pki: front-proxy-ca.key: missing, or not PEM"},
		"a key is of another certificate": {func(d map[string][]byte) { d["ca.key"] = other["ca.key"] }, "pki: ca.key is not the key of ca.crt"},
		"the signing key is no RSA key":   {func(d map[string][]byte) { d["sa.key"] = d["ca.key"] }, "pki: sa.key: not an RSA key"},
		"a key is a certificate":          {func(d map[string][]byte) { d["sa.key"] = d["ca.crt"] }, "pki: sa.key: not a PKCS #8 private key"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := maps.Clone(good)
			test.change(data)
			_, err := pki.Decode(data)
			require.EqualError(t, err, test.message)
		})
	}
}

// Who has the old authority trusts what the renewed one signs, and the other way round.
func TestRenewedAuthoritiesKeepTheirTrust(t *testing.T) {
	t.Parallel()
	now := time.Now()
	old, err := pki.New(now.Add(-6*365*24*time.Hour + time.Hour))
	require.NoError(t, err)
	same, changed, err := old.Renewed(now)
	require.NoError(t, err)
	require.False(t, changed)
	require.True(t, old.Equal(same))

	old, err = pki.New(now.Add(-6*365*24*time.Hour - time.Hour))
	require.NoError(t, err)
	renewed, changed, err := old.Renewed(now)
	require.NoError(t, err)
	require.True(t, changed)
	require.WithinDuration(t, now.Add(10*365*24*time.Hour), parse(t, renewed.CAPEM()).NotAfter, time.Minute)
	again, err := pki.Decode(renewed.Encode())
	require.NoError(t, err)
	require.True(t, renewed.Equal(again))
	for _, pair := range [][2]*pki.Bundle{{old, renewed}, {renewed, old}} {
		certPEM, _, err := pair[0].Issue(pki.Leaf{CommonName: "server", DNSNames: []string{"server"}, Server: true, Lifetime: time.Hour})
		require.NoError(t, err)
		roots := x509.NewCertPool()
		require.True(t, roots.AppendCertsFromPEM(pair[1].CAPEM()))
		_, err = parse(t, certPEM).Verify(x509.VerifyOptions{Roots: roots, DNSName: "server"})
		require.NoError(t, err)
	}
	require.Equal(t, old.ServiceAccountKeyPEM(), renewed.ServiceAccountKeyPEM())
}
