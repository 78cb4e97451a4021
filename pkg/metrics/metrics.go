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
)

// Metrics is Nestling's own registry and the page that joins all of them.
type Metrics struct {
	registry   *prometheus.Registry
	startTimes *prometheus.GaugeVec
}

// New makes a registry that knows the version of the program.
func New(version string) *Metrics {
	registry := prometheus.NewRegistry()

	buildInfo := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "nestling_build_info",
		Help: "The version of Nestling, as a label; the value is always 1.",
	}, []string{"version"})
	buildInfo.WithLabelValues(version).Set(1)

	startTimes := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "nestling_component_start_seconds",
		Help: "How long the component took from its start until it was ready.",
	}, []string{"component"})

	registry.MustRegister(buildInfo, startTimes)
	return &Metrics{registry: registry, startTimes: startTimes}
}

// Registerer is where Nestling's own metrics belong.
func (m *Metrics) Registerer() prometheus.Registerer { return m.registry }

// ObserveStart records how long a component took from its start until ready.
func (m *Metrics) ObserveStart(component string, took time.Duration) {
	m.startTimes.WithLabelValues(component).Set(took.Seconds())
}

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
