package initialobjects

import (
	"github.com/prometheus/client_golang/prometheus"

	"nestling.dev/nestling/pkg/metrics/families"
)

// Metrics are there for a tenant without initial objects, too: none of them fails.
type Metrics struct{ objects *prometheus.GaugeVec }

// NewMetrics registers them.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{objects: families.NewGauge(families.InitialObjects)}
	registerer.MustRegister(m.objects)
	m.set(0, 0)
	return m
}

func (m *Metrics) set(kept, failed int) {
	m.objects.WithLabelValues("kept").Set(float64(kept))
	m.objects.WithLabelValues("failed").Set(float64(failed))
}
