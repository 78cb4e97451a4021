// Package syncer keeps a virtual cluster and its part of the host in line.
//
// Read it from the inside out. Package naming computes host names. Package resource
// is the vocabulary: a kind is one Spec, every field of it has one owner. Package
// resources holds the kinds, one small file each. Package plan decides, purely, what
// a pair of objects needs; package apply turns that into bytes. Package engine does
// all the I/O and knows no kind. Package tokens keeps the ServiceAccount tokens of
// pods. This package puts them together for one tenant.
package syncer
