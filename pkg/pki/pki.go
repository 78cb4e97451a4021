// Package pki holds the identity of a virtual cluster: two certificate
// authorities and the key that signs ServiceAccount tokens. Everything else is
// issued from them at every start and never kept.
package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// Keys of the Secret that holds a bundle; the names are kubeadm's.
const (
	caCertKey           = "ca.crt"
	caKeyKey            = "ca.key"
	frontProxyCACertKey = "front-proxy-ca.crt"
	frontProxyCAKeyKey  = "front-proxy-ca.key"
	serviceAccountKey   = "sa.key"
)

// serviceAccountKeyBits: RSA, because some verifiers of OIDC tokens outside the
// cluster know only RS256; 2048 bits, as kubeadm.
const serviceAccountKeyBits = 2048

// Bundle is the identity. It is made once and kept in a host Secret.
type Bundle struct {
	ca             *authority      // of the API server, and of everyone who talks to it
	frontProxy     *authority      // of the API server as a client of aggregated API servers
	serviceAccount *rsa.PrivateKey // signs ServiceAccount tokens
}

// New makes a fresh identity, valid for ten years from now.
func New(now time.Time) (*Bundle, error) {
	ca, err := newAuthority("nestling-ca", now)
	if err != nil {
		return nil, fmt.Errorf("pki: make the cluster's authority: %w", err)
	}
	frontProxy, err := newAuthority("nestling-front-proxy-ca", now)
	if err != nil {
		return nil, fmt.Errorf("pki: make the front proxy's authority: %w", err)
	}
	serviceAccount, err := rsa.GenerateKey(rand.Reader, serviceAccountKeyBits)
	if err != nil {
		return nil, fmt.Errorf("pki: make the ServiceAccount key: %w", err)
	}
	return &Bundle{ca: ca, frontProxy: frontProxy, serviceAccount: serviceAccount}, nil
}

// Decode reads what Encode wrote. It fails if a part is missing, unreadable or
// does not belong to the others; the error never holds key material.
func Decode(data map[string][]byte) (*Bundle, error) {
	ca, err := decodeAuthority(data, caCertKey, caKeyKey)
	if err != nil {
		return nil, err
	}
	frontProxy, err := decodeAuthority(data, frontProxyCACertKey, frontProxyCAKeyKey)
	if err != nil {
		return nil, err
	}
	signer, err := decodeKey(data, serviceAccountKey)
	if err != nil {
		return nil, err
	}
	serviceAccount, ok := signer.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("pki: %s: not an RSA key", serviceAccountKey)
	}
	return &Bundle{ca: ca, frontProxy: frontProxy, serviceAccount: serviceAccount}, nil
}

// Encode returns the bundle as the data of a Secret.
func (b *Bundle) Encode() map[string][]byte {
	return map[string][]byte{
		caCertKey:           b.ca.certPEM(),
		caKeyKey:            b.ca.keyPEM(),
		frontProxyCACertKey: b.frontProxy.certPEM(),
		frontProxyCAKeyKey:  b.frontProxy.keyPEM(),
		serviceAccountKey:   b.ServiceAccountKeyPEM(),
	}
}

// Identity is a short name of this bundle: the same after Encode and Decode,
// different for every New. It is the start of the SHA-256 of the authority's
// certificate, in hex.
func (b *Bundle) Identity() string {
	sum := sha256.Sum256(b.ca.cert.Raw)
	return hex.EncodeToString(sum[:8])
}

// Equal says whether both are the same identity, keys included.
func (b *Bundle) Equal(other *Bundle) bool {
	mine, theirs := b.Encode(), other.Encode()
	for key := range mine {
		if !bytes.Equal(mine[key], theirs[key]) {
			return false
		}
	}
	return true
}

// CAPEM is the certificate that clients and servers of the cluster trust.
func (b *Bundle) CAPEM() []byte { return b.ca.certPEM() }

// CAKeyPEM is its key, for the controller that signs CertificateSigningRequests.
func (b *Bundle) CAKeyPEM() []byte { return b.ca.keyPEM() }

// FrontProxyCAPEM is the certificate that aggregated API servers trust.
func (b *Bundle) FrontProxyCAPEM() []byte { return b.frontProxy.certPEM() }

// ServiceAccountKeyPEM is the private key that signs ServiceAccount tokens.
func (b *Bundle) ServiceAccountKeyPEM() []byte { return encodeKey(b.serviceAccount) }

// Expiry is the end of a certificate that is issued now: never later than the authority's.
func (b *Bundle) Expiry(now time.Time, lifetime time.Duration) time.Time {
	return b.ca.expiry(now, lifetime)
}

// Renewed is the bundle with another ten years for the authorities that have less than
// four left; false if none of them has. Keys and names are the same, so that all that was
// signed stays good, also to those who have the old certificates.
func (b *Bundle) Renewed(now time.Time) (*Bundle, bool, error) {
	out, changed := *b, false
	for _, authority := range []**authority{&out.ca, &out.frontProxy} {
		if (*authority).cert.NotAfter.Sub(now) >= authorityRenewal {
			continue
		}
		renewed, err := (*authority).renewed(now)
		if err != nil {
			return nil, false, fmt.Errorf("pki: renew an authority: %w", err)
		}
		*authority, changed = renewed, true
	}
	return &out, changed, nil
}

// Issue signs a certificate with the cluster's authority.
func (b *Bundle) Issue(leaf Leaf) (certPEM, keyPEM []byte, err error) {
	return b.ca.issue(leaf)
}

// IssueFrontProxy signs a certificate with the front proxy's authority.
func (b *Bundle) IssueFrontProxy(leaf Leaf) (certPEM, keyPEM []byte, err error) {
	return b.frontProxy.issue(leaf)
}
