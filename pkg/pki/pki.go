// Package pki holds the identity of a virtual cluster: two certificate
// authorities and the key that signs ServiceAccount tokens. Everything else is
// issued from them at every start and never kept.
package pki

import (
	"errors"
	"net"
	"time"
)

// Bundle is the identity. It is made once and kept in a host Secret.
type Bundle struct {
}

// Leaf describes a certificate to issue.
type Leaf struct {
	CommonName    string   // the user name, for a client
	Organizations []string // the user's groups, for a client
	DNSNames      []string
	IPs           []net.IP
	Server        bool // may be used by a TLS server
	Client        bool // may be used by a TLS client

	// Lifetime from now; zero or beyond the authority's own means as long as
	// the authority's.
	Lifetime time.Duration
}

// New makes a fresh identity.
func New(now time.Time) (*Bundle, error) { return nil, errors.New("pki: not written yet") }

// Decode reads what Encode wrote.
func Decode(data map[string][]byte) (*Bundle, error) { return nil, errors.New("pki: not written yet") }

// Encode returns the bundle as the data of a Secret.
func (b *Bundle) Encode() map[string][]byte { return nil }

// Identity is a short name of this bundle: the same after Encode and Decode,
// different for every New.
func (b *Bundle) Identity() string { return "" }

// CAPEM is the certificate that clients and servers of the cluster trust.
func (b *Bundle) CAPEM() []byte { return nil }

// FrontProxyCAPEM is the certificate that aggregated API servers trust.
func (b *Bundle) FrontProxyCAPEM() []byte { return nil }

// ServiceAccountKeyPEM is the private key that signs ServiceAccount tokens.
func (b *Bundle) ServiceAccountKeyPEM() []byte { return nil }

// Issue signs a certificate with the cluster's authority.
func (b *Bundle) Issue(leaf Leaf) (certPEM, keyPEM []byte, err error) {
	return nil, nil, errors.New("pki: not written yet")
}

// Kubeconfig renders a kubeconfig for server with a freshly issued client certificate.
func (b *Bundle) Kubeconfig(name, server string, leaf Leaf) ([]byte, error) {
	return nil, errors.New("pki: not written yet")
}
