package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

const (
	// authorityLifetime is long because who has a copy of its certificate has to get the next one.
	authorityLifetime = 10 * 365 * 24 * time.Hour
	// authorityRenewal is how much of it is left when it gets the next. No process lives
	// that long: kube-apiserver is not alive any more after three years.
	authorityRenewal = 4 * 365 * 24 * time.Hour

	// clockSkew is how far behind another machine's clock may be.
	clockSkew = 5 * time.Minute
)

// Leaf describes a certificate to issue.
type Leaf struct {
	CommonName    string   // the user name, for a client
	Organizations []string // the user's groups, for a client
	DNSNames      []string
	IPs           []net.IP
	Server        bool // may be used by a TLS server
	Client        bool // may be used by a TLS client

	// Lifetime from Now; zero or beyond the authority's own means as long as
	// the authority's.
	Lifetime time.Duration
	// Now is when it is issued; zero means now.
	Now time.Time
}

// authority is a self-signed certificate and its key.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority(name string, now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	// The serial is part of the name so that no two authorities share one:
	// clients that trust several tell them apart by it.
	return selfSigned(pkix.Name{CommonName: fmt.Sprintf("%s-%x", name, serial.Bytes()[:4])}, key, serial, now)
}

// renewed has the same name and key, so that each trusts what the other has signed.
func (a *authority) renewed(now time.Time) (*authority, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	return selfSigned(a.cert.Subject, a.key, serial, now)
}

func selfSigned(subject pkix.Name, key crypto.Signer, serial *big.Int, now time.Time) (*authority, error) {
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               subject,
		NotBefore:             now.Add(-clockSkew).UTC(),
		NotAfter:              now.Add(authorityLifetime).UTC(),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{cert: cert, key: key}, nil
}

// expiry of a certificate that is issued now.
func (a *authority) expiry(now time.Time, lifetime time.Duration) time.Time {
	if end := now.Add(lifetime); lifetime > 0 && end.Before(a.cert.NotAfter) {
		return end
	}
	return a.cert.NotAfter
}

// issue signs a certificate for a new key.
func (a *authority) issue(leaf Leaf) (certPEM, keyPEM []byte, err error) {
	if leaf.CommonName == "" {
		return nil, nil, errors.New("pki: a certificate needs a common name")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("pki: make a key for %s: %w", leaf.CommonName, err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, nil, fmt.Errorf("pki: make a serial for %s: %w", leaf.CommonName, err)
	}
	now := leaf.Now.UTC()
	if leaf.Now.IsZero() {
		now = time.Now().UTC()
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: leaf.CommonName, Organization: leaf.Organizations},
		NotBefore:    now.Add(-clockSkew),
		NotAfter:     a.expiry(now, leaf.Lifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		DNSNames:     leaf.DNSNames,
		IPAddresses:  leaf.IPs,
	}
	if leaf.Server {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if leaf.Client {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("pki: sign a certificate for %s: %w", leaf.CommonName, err)
	}
	return encodeCert(der), encodeKey(key), nil
}

func (a *authority) certPEM() []byte { return encodeCert(a.cert.Raw) }
func (a *authority) keyPEM() []byte  { return encodeKey(a.key) }

func decodeAuthority(data map[string][]byte, certName, keyName string) (*authority, error) {
	block, _ := pem.Decode(data[certName])
	if block == nil {
		return nil, fmt.Errorf("pki: %s: missing, or not PEM", certName)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("pki: %s: %w", certName, err)
	}
	key, err := decodeKey(data, keyName)
	if err != nil {
		return nil, err
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("pki: %s is not the key of %s", keyName, certName)
	}
	return &authority{cert: cert, key: key}, nil
}

func decodeKey(data map[string][]byte, name string) (crypto.Signer, error) {
	block, _ := pem.Decode(data[name])
	if block == nil {
		return nil, fmt.Errorf("pki: %s: missing, or not PEM", name)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("pki: %s: not a PKCS #8 private key", name) // the cause could quote the key
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("pki: %s: %T cannot sign", name, key)
	}
	return signer, nil
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// encodeKey cannot fail for the two kinds of keys that this package makes and reads.
func encodeKey(key crypto.Signer) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(fmt.Sprintf("pki: encode a %T: %v", key, err))
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// newSerial is random, as RFC 5280 wants it: positive and at most 20 bytes.
func newSerial() (*big.Int, error) {
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, err
	}
	random[0] = random[0]&0x7f | 0x40 // positive, and always of the same length
	return new(big.Int).SetBytes(random[:]), nil
}
