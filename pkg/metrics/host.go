package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"nestling.dev/nestling/pkg/metrics/families"
)

// Host watches the requests to the host's API: it asks nothing itself. Informers do, once
// a second while they are not answered, so that an outage and its end both show soon.
type Host struct {
	up         prometheus.Gauge
	unanswered prometheus.Counter
}

func newHost() *Host {
	return &Host{
		up:         families.NewGauge(families.HostUp).WithLabelValues(),
		unanswered: families.NewCounter(families.HostUnanswered).WithLabelValues(),
	}
}

// Wrap watches the requests that go through a transport.
func (h *Host) Wrap(transport http.RoundTripper) http.RoundTripper {
	return watched{host: h, RoundTripper: transport}
}

type watched struct {
	http.RoundTripper
	host *Host
}

// RoundTrip is part of http.RoundTripper.
func (w watched) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := w.RoundTripper.RoundTrip(request)
	switch {
	case err == nil && response.StatusCode != http.StatusServiceUnavailable && response.StatusCode != http.StatusBadGateway && response.StatusCode != http.StatusGatewayTimeout:
		w.host.up.Set(1)
	case err != nil && request.Context().Err() != nil:
		// Whoever asked did not wait; that says nothing about the host. One that takes
		// requests and never answers loses its connections, and then those fail.
	default:
		w.host.up.Set(0)
		w.host.unanswered.Inc()
	}
	return response, err
}

// WrappedRoundTripper lets client-go find what is below.
func (w watched) WrappedRoundTripper() http.RoundTripper { return w.RoundTripper }
