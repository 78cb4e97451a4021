//go:build tools

// Package prombins pins promtool, Prometheus' own judge of alerts, so that the product's
// module graph does not depend on Prometheus.
package prombins

import _ "github.com/prometheus/prometheus/cmd/promtool"
