//go:build tools

// Package operatorbins pins the operators that the stories install in a tenant, so
// that neither the product's module graph nor the host's sees them.
package operatorbins

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/sample-apiserver"
	_ "sigs.k8s.io/cluster-api/core"
)
