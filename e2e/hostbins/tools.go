//go:build tools

// Package hostbins pins the programs that only a host node needs, so that the
// product's own module graph stays free of them.
package hostbins

import (
	_ "k8s.io/kubernetes/cmd/kubectl"
	_ "k8s.io/kubernetes/test/images/agnhost"
)
