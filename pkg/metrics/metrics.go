// Package metrics serves the metrics of everything that runs in the process as
// one page: Nestling's own, Kubernetes' (legacyregistry) and etcd's (the
// default registry of Prometheus).
//
// The latter two share some 40 families, such as those of the Go runtime. A
// page with a family in it twice is refused by Prometheus, so each family comes
// from the first registry that has it.
package metrics

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/component-base/metrics/legacyregistry"

	"nestling.dev/nestling/pkg/metrics/families"
)

// Metrics is Nestling's own registry and the page that joins all of them.
type Metrics struct {
	registry   *prometheus.Registry
	startTimes *prometheus.GaugeVec
	verdicts   *prometheus.CounterVec
	judging    *prometheus.HistogramVec
	host       *Host
	process    *process
}

// New makes a registry that knows the version of the program.
func New(version string) *Metrics {
	buildInfo := families.NewGauge(families.BuildInfo)
	buildInfo.WithLabelValues(version).Set(1)
	m := &Metrics{
		registry:   prometheus.NewRegistry(),
		startTimes: families.NewGauge(families.ComponentStart),
		verdicts:   families.NewCounter(families.PreflightVerdicts),
		judging:    families.NewHistogram(families.PreflightDuration),
		host:       newHost(),
		process:    newProcess(),
	}
	m.registry.MustRegister(buildInfo, m.startTimes, m.verdicts, m.judging, m.host.up, m.host.unanswered, m.process)
	return m
}

// Registerer is where Nestling's own metrics belong.
func (m *Metrics) Registerer() prometheus.Registerer { return m.registry }

// Registry is Nestling's own part of the page.
func (m *Metrics) Registry() prometheus.Gatherer { return m.registry }

// ObserveStart records how long a component took from its start until ready.
func (m *Metrics) ObserveStart(component string, took time.Duration) {
	m.startTimes.WithLabelValues(component).Set(took.Seconds())
}

// ObservePreflight records what became of a request of the tenant that the host was asked
// about, and how long that took.
func (m *Metrics) ObservePreflight(resource, verdict string, took time.Duration) {
	m.verdicts.WithLabelValues(resource, verdict).Inc()
	m.judging.WithLabelValues(verdict).Observe(took.Seconds())
}

// Host is how the host's API is seen to answer.
func (m *Metrics) Host() *Host { return m.host }

// Etcd makes the size of the store known: size is called whenever somebody asks, and
// reports false as long as there is none.
func (m *Metrics) Etcd(size func() (StoreSize, bool)) { m.process.etcd.Store(&size) }

// Certificates makes known when those that are in use expire, by name: expiries is called
// whenever somebody asks.
func (m *Metrics) Certificates(expiries func() map[string]time.Time) {
	m.process.certificates.Store(&expiries)
}

// TenantExpires makes known when the tenant removes itself; the zero time: never.
func (m *Metrics) TenantExpires(at time.Time) { m.process.expires.Store(&at) }

// Handler serves the joined page.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(
		union{m.registry, legacyregistry.DefaultGatherer, prometheus.DefaultGatherer},
		// One bad collector must not hide all the others.
		promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError},
	)
}

// union gathers from all of its members; the first that has a family wins.
type union []prometheus.Gatherer

func (u union) Gather() ([]*dto.MetricFamily, error) {
	var errs prometheus.MultiError
	var families []*dto.MetricFamily
	seen := map[string]bool{}
	for _, gatherer := range u {
		found, err := gatherer.Gather()
		errs.Append(err)
		for _, family := range found {
			if seen[family.GetName()] {
				continue
			}
			seen[family.GetName()] = true
			families = append(families, family)
		}
	}
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return families, errs.MaybeUnwrap()
}
