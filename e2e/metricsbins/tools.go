//go:build tools

// Package metricsbins pins metrics-server, which a host of the stories runs, so that the
// product's module graph does not depend on more of it than its API types.
package metricsbins

import _ "sigs.k8s.io/metrics-server/cmd/metrics-server"
