package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"nestling.dev/nestling/pkg/metrics/families"
)

// StoreSize is how large a store is, in bytes.
type StoreSize struct {
	Allocated int64 // the database, free pages included: what the quota is about
	InUse     int64
	Quota     int64
}

// process tells what the process knows anyway. It is looked up when somebody asks, so
// that what rotates or grows is told as it is, and costs nothing until then.
type process struct {
	etcd         atomic.Pointer[func() (StoreSize, bool)]
	certificates atomic.Pointer[func() map[string]time.Time]
	expires      atomic.Pointer[time.Time]

	size, inUse, quota, certificate, expiry *prometheus.Desc
}

var _ prometheus.Collector = &process{}

func newProcess() *process {
	return &process{
		size:        families.NewDesc(families.EtcdSize),
		inUse:       families.NewDesc(families.EtcdInUse),
		quota:       families.NewDesc(families.EtcdQuota),
		certificate: families.NewDesc(families.CertificateExpiry),
		expiry:      families.NewDesc(families.TenantExpiry),
	}
}

// Describe is part of Collector.
func (p *process) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{p.size, p.inUse, p.quota, p.certificate, p.expiry} {
		out <- desc
	}
}

// Collect is part of Collector.
func (p *process) Collect(out chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	if look := p.etcd.Load(); look != nil {
		if size, ok := (*look)(); ok {
			gauge(p.size, float64(size.Allocated))
			gauge(p.inUse, float64(size.InUse))
			gauge(p.quota, float64(size.Quota))
		}
	}
	if look := p.certificates.Load(); look != nil {
		for name, at := range (*look)() {
			gauge(p.certificate, unix(at), name)
		}
	}
	if at := p.expires.Load(); at != nil && !at.IsZero() {
		gauge(p.expiry, unix(*at))
	}
}

func unix(at time.Time) float64 { return float64(at.UnixMilli()) / 1000 }
