// Package naming computes the names that virtual objects have on the host.
//
// Names are arithmetic: a host name is a readable prefix and a hash of (tenant,
// namespace, name). There is no store of mappings to lose. The way back is not
// computed from the name; it is written on the host object's annotations.
package naming

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

const (
	// MaxLength is the length of the longest host name, in bytes: the limit of a
	// DNS-1123 label (RFC 1123), the strictest that any synced kind has.
	MaxLength = 63

	hashLength     = 16 // base32 digits, 5 bits each: 80 bits of SHA-256
	readableLength = MaxLength - 1 - hashLength
	tenantLength   = 12
	spaceLength    = 14
)

var encoding = base32.HexEncoding.WithPadding(base32.NoPadding)

// Host is the host name of the virtual object name in namespace of tenant.
// It is a DNS-1123 label that begins with a letter (so that it is a DNS-1035
// label too, as Services need), at most MaxLength long, and differs wherever
// tenant, namespace or name differ.
func Host(tenant, namespace, name string) string {
	return Derived("", tenant, namespace, name)
}

// Derived is the host name of an object that is made for a virtual object, beside
// the object's own translation; role tells them apart. Role "" is the object's own.
func Derived(role, tenant, namespace, name string) string {
	readable := clip(tenant, tenantLength) + "-" + clip(namespace, spaceLength) + "-" + label(name)
	readable = strings.Trim(clip(readable, readableLength), "-")
	if readable[0] >= '0' && readable[0] <= '9' {
		readable = clip("n"+readable, readableLength)
	}
	return strings.TrimRight(readable, "-") + "-" + hash(role, tenant, namespace, name)
}

// IsHost reports whether a word has the form of a host name.
func IsHost(word string) bool {
	readable := len(word) - hashLength - 1
	if readable < 1 || len(word) > MaxLength || word[readable] != '-' {
		return false
	}
	return strings.Trim(word[readable+1:], "0123456789abcdefghijklmnopqrstuv") == ""
}

// LabelValue is value where it fits into a label's 63 bytes, otherwise a readable
// part of it and its hash.
func LabelValue(value string) string {
	if len(value) <= MaxLength {
		return value
	}
	return strings.TrimRight(clip(value, readableLength), "-_.") + "-" + hash(value)
}

// NamespaceLabel is the label key under which host pods carry their virtual
// namespace's label key, so that namespace selectors can be asked of pods. The
// prefix nestling.dev/ is closed to tenants, so no pod can pretend.
func NamespaceLabel(key string) string {
	return "nestling.dev/ns-" + hash(key)
}

// hash separates its parts by a byte that no name contains, so that it is a
// function of the list, not of the concatenation.
func hash(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return strings.ToLower(encoding.EncodeToString(sum[:10]))
}

func clip(s string, n int) string {
	s = label(s)
	if len(s) > n {
		s = s[:n]
	}
	return s
}

// label maps s onto the alphabet of DNS-1123 labels. It need not be injective:
// the hash is.
func label(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		default:
			return '-'
		}
	}, s)
}
