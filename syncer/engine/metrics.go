package engine

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"
)

// Metrics of the engine; names and labels are API.
type Metrics struct {
	writes  *prometheus.CounterVec
	errors  *prometheus.CounterVec
	latency *prometheus.HistogramVec
	held    *prometheus.GaugeVec
	skewed  *prometheus.CounterVec
}

// NewMetrics registers the engine's metrics; registry nil leaves them unregistered.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "nestling_sync_writes_total",
			Help: "Writes of the syncer. At rest it does not move.",
		}, []string{"kind", "side", "verb", "outcome"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "nestling_sync_errors_total",
			Help: "Attempts to bring an object in line that failed and are tried again.",
		}, []string{"kind"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "nestling_sync_duration_seconds",
			Help:    "Time to observe an object on both sides, decide and write.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}, []string{"kind"}),
		held: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "nestling_sync_held_deletions",
			Help: "Host objects kept from deletion because too many would go at once.",
		}, []string{"kind"}),
		skewed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "nestling_sync_skewed_total",
			Help: "Objects of which one side does not take what the other has, most likely because their versions differ.",
		}, []string{"kind", "reason"}),
	}
	if registry != nil {
		registry.MustRegister(m.writes, m.errors, m.latency, m.held, m.skewed)
	}
	return m
}

func (m *Metrics) reportHeld(kind string, count int) {
	m.held.WithLabelValues(kind).Set(float64(count))
	if count == 1 {
		klog.Background().Error(nil, "Host objects are kept: too many virtual objects are missing at once. If they are meant to be gone, delete their host objects by hand", "kind", kind)
	}
}
