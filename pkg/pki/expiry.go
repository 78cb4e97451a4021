package pki

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"time"
)

// Expires is when the authorities' certificates do.
func (b *Bundle) Expires() (ca, frontProxy time.Time) {
	return b.ca.cert.NotAfter, b.frontProxy.cert.NotAfter
}

// Expiry is when the first certificate of a PEM file expires.
func Expiry(certPEM []byte) (time.Time, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return time.Time{}, errors.New("pki: not a certificate in PEM")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}, err
	}
	return certificate.NotAfter, nil
}
