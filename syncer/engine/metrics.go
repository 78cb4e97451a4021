package engine

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"nestling.dev/nestling/pkg/metrics/families"
	"nestling.dev/nestling/syncer/plan"
	"nestling.dev/nestling/syncer/resource"
)

// Metrics of the engine; names and labels are API.
type Metrics struct {
	writes   *prometheus.CounterVec
	errors   *prometheus.CounterVec
	duration *prometheus.HistogramVec
	latency  *prometheus.HistogramVec
	drift    *prometheus.CounterVec
	held     *prometheus.GaugeVec
	skewed   *prometheus.CounterVec
	state    *state
}

// NewMetrics registers the engine's metrics; registry nil leaves them unregistered.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		writes:   families.NewCounter(families.SyncWrites),
		errors:   families.NewCounter(families.SyncErrors),
		duration: families.NewHistogram(families.SyncDuration),
		latency:  families.NewHistogram(families.SyncLatency),
		drift:    families.NewCounter(families.SyncDrift),
		held:     families.NewGauge(families.SyncHeldDeletions),
		skewed:   families.NewCounter(families.SyncSkewed),
		state:    &state{},
	}
	if registry != nil {
		registry.MustRegister(m.writes, m.errors, m.duration, m.latency, m.drift, m.held, m.skewed, m.state)
	}
	return m
}

// follow shows the kinds of an engine. What has not happened yet is 0, and not absent: an
// increase from nothing would be none.
func (m *Metrics) follow(kinds []*syncedKind) {
	for _, kind := range kinds {
		if kind.Direction == resource.ReadOnly {
			continue
		}
		m.errors.WithLabelValues(kind.Name)
		if kind.Direction == resource.ToHost {
			m.held.WithLabelValues(kind.Name)
			m.skewed.WithLabelValues(kind.Name, ReasonHostLacksField)
			m.skewed.WithLabelValues(kind.Name, ReasonStatusNotKnown)
			m.drift.WithLabelValues(kind.Name, families.Repaired)
			if !kind.Mortal {
				m.drift.WithLabelValues(kind.Name, families.Recreated)
			}
		}
	}
	m.state.kinds.Store(&kinds)
}

// wrote measures a write that was sent at that time and is done: since when it was due, and whether it mended what
// somebody else did to a host object.
func (m *Metrics) wrote(kind *syncedKind, key resource.Key, action plan.Action, sent time.Time, now clock) {
	due := kind.pending.Answer(key, action.Side, action.Verb, sent)
	if !due.since.IsZero() {
		direction := families.ToHost
		if action.Side == plan.Virtual {
			direction = families.FromHost
		}
		m.latency.WithLabelValues(kind.Name, direction).Observe(now().Sub(due.since).Seconds())
	}
	if due.drift && action.Verb == plan.Patch {
		m.drift.WithLabelValues(kind.Name, families.Repaired).Inc()
	}
	if due.drift && action.Verb == plan.Create {
		m.drift.WithLabelValues(kind.Name, families.Recreated).Inc()
	}
}

func (m *Metrics) reportHeld(kind string, count int) {
	m.held.WithLabelValues(kind).Set(float64(count))
	if count == 1 {
		klog.Background().Error(nil, "Host objects are kept: too many virtual objects are missing at once. If they are meant to be gone, delete their host objects by hand", "kind", kind)
	}
}

// state is what is looked up when somebody asks, and costs nothing until then.
type state struct {
	kinds atomic.Pointer[[]*syncedKind]
}

var _ prometheus.Collector = &state{}

// Describe is part of Collector.
func (s *state) Describe(out chan<- *prometheus.Desc) {
	for _, name := range []string{families.SyncQueueDepth, families.SyncObjects, families.SyncFailing} {
		out <- families.NewDesc(name)
	}
}

// Collect is part of Collector.
func (s *state) Collect(out chan<- prometheus.Metric) {
	kinds := s.kinds.Load()
	if kinds == nil {
		return
	}
	depth, objects, failing := families.NewDesc(families.SyncQueueDepth), families.NewDesc(families.SyncObjects), families.NewDesc(families.SyncFailing)
	gauge := func(desc *prometheus.Desc, value int, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(value), labels...)
	}
	for _, kind := range *kinds {
		for side, informer := range map[plan.Side]cache.SharedIndexInformer{plan.Virtual: kind.virtualInformer, plan.Host: kind.hostInformer} {
			if informer != nil {
				gauge(objects, len(informer.GetStore().ListKeys()), kind.Name, string(side))
			}
		}
		if kind.Direction != resource.ReadOnly {
			gauge(depth, kind.queue.Len(), kind.Name)
			gauge(failing, kind.troubled.Len(), kind.Name)
		}
	}
}
