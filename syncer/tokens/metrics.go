package tokens

import (
	"github.com/prometheus/client_golang/prometheus"

	"nestling.dev/nestling/pkg/metrics/families"
	"nestling.dev/nestling/syncer/work"
)

// What is done to a Secret.
const (
	changeMade    = "made"
	changeRenewed = "renewed"
	changeDropped = "dropped"
)

// How it ends.
const (
	outcomeOK       = "ok"
	outcomeConflict = "conflict" // the two sides moved at once; tried again, as errors are
	outcomeError    = "error"
)

// Metrics of a Controller.
type Metrics struct{ changes *prometheus.CounterVec }

// NewMetrics registers the controller's metrics; registry nil leaves them unregistered.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{changes: families.NewCounter(families.TokenSecrets)}
	for _, change := range []string{changeMade, changeRenewed, changeDropped} {
		for _, outcome := range []string{outcomeOK, outcomeError} {
			m.changes.WithLabelValues(change, outcome) // 0, and not absent
		}
	}
	if registry != nil {
		registry.MustRegister(m.changes)
	}
	return m
}

func (m *Metrics) count(change string, err error) {
	outcome := outcomeOK
	switch {
	case work.IsOutcome(err):
		outcome = outcomeConflict
	case err != nil:
		outcome = outcomeError
	}
	m.changes.WithLabelValues(change, outcome).Inc()
}
