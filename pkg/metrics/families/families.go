// Package families lists every family of metrics that is Nestling's own. Names, types, labels and units are API: people
// write alerts and dashboards against them. Whoever measures makes the family from this list, by name, so that what is
// documented and what is served cannot differ.
//
// Labels have few values each: kinds, sides, verbs and the like, never the name of an object of a tenant's.
package families

import (
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// Type of a family, as on the page.
type Type string

const (
	Counter   Type = "counter"
	Gauge     Type = "gauge"
	Histogram Type = "histogram"
)

// Family is one family of metrics.
type Family struct {
	Name string
	Type Type
	// Unit of the value; empty is a count.
	Unit string
	// Labels in the order in which values are given.
	Labels []string
	Help   string
	// When says what must be so for the family to be on the page; empty: nothing.
	When string

	buckets []float64 // of a Histogram, in Unit
}

// Of is the family with a name. A name that is not in the list is a mistake of the program's.
func Of(name string) Family {
	all := All()
	i := slices.IndexFunc(all, func(family Family) bool { return family.Name == name })
	if i < 0 {
		panic(fmt.Sprintf("metrics: family %s is not in the list", name))
	}
	return all[i]
}

// NewCounter makes a family of the list.
func NewCounter(name string) *prometheus.CounterVec {
	family := of(name, Counter)
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: family.Help}, family.Labels)
}

// NewGauge makes a family of the list.
func NewGauge(name string) *prometheus.GaugeVec {
	family := of(name, Gauge)
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: family.Help}, family.Labels)
}

// NewHistogram makes a family of the list.
func NewHistogram(name string) *prometheus.HistogramVec {
	family := of(name, Histogram)
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: family.Help, Buckets: family.buckets}, family.Labels)
}

// NewDesc describes a family of the list whose values are looked up when somebody asks.
func NewDesc(name string) *prometheus.Desc {
	family := Of(name)
	return prometheus.NewDesc(name, family.Help, family.Labels, nil)
}

func of(name string, want Type) Family {
	family := Of(name)
	if family.Type != want {
		panic(fmt.Sprintf("metrics: family %s is a %s, not a %s", name, family.Type, want))
	}
	return family
}
