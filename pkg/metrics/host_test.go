package metrics_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"nestling.dev/nestling/pkg/metrics"
	"nestling.dev/nestling/pkg/metrics/families"
)

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(request *http.Request) (*http.Response, error) { return t(request) }

func TestTheHostIsUpAsLongAsItAnswers(t *testing.T) {
	t.Parallel()
	m := metrics.New("v1")
	var status int
	var fail error
	wrapped := m.Host().Wrap(transport(func(*http.Request) (*http.Response, error) {
		if fail != nil {
			return nil, fail
		}
		return &http.Response{StatusCode: status, Body: http.NoBody}, nil
	}))
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	for _, step := range []struct {
		what       string
		ctx        context.Context
		status     int
		fail       error
		unanswered int
		up         float64
	}{
		{"an answer", t.Context(), 200, nil, 0, 1},
		{"none", t.Context(), 0, errors.New("connection refused"), 1, 0},
		{"a refusal is an answer", t.Context(), 403, nil, 1, 1},
		{"a server that is starting", t.Context(), 503, nil, 2, 0},
		{"an answer again", t.Context(), 500, nil, 2, 1},
		{"somebody who does not wait says nothing about the host", impatient, 0, context.Canceled, 2, 1},
	} {
		status, fail = step.status, step.fail
		request, err := http.NewRequestWithContext(step.ctx, http.MethodGet, "https://host", nil)
		require.NoError(t, err)
		response, _ := wrapped.RoundTrip(request)
		if response != nil {
			require.NoError(t, response.Body.Close())
		}
		require.EqualValues(t, step.up, value(t, m, families.HostUp), step.what)
		require.EqualValues(t, step.unanswered, value(t, m, families.HostUnanswered), step.what)
	}
}

// value of the only metric of a family.
func value(t *testing.T, m *metrics.Metrics, name string) float64 {
	t.Helper()
	found, err := m.Registry().Gather()
	require.NoError(t, err)
	for _, family := range found {
		if family.GetName() == name {
			require.Len(t, family.Metric, 1)
			return family.Metric[0].GetGauge().GetValue() + family.Metric[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}

func TestWhatTheProcessKnowsIsLookedUp(t *testing.T) {
	t.Parallel()
	m := metrics.New("v1")
	gathered := func() []string {
		found, err := m.Registry().Gather()
		require.NoError(t, err)
		var names []string
		for _, family := range found {
			names = append(names, family.GetName())
		}
		return names
	}
	require.NotContains(t, gathered(), families.EtcdSize)
	require.NotContains(t, gathered(), families.TenantExpiry)
	size := metrics.StoreSize{Allocated: 3, InUse: 2, Quota: 9}
	m.Etcd(func() (metrics.StoreSize, bool) { return size, true })
	require.EqualValues(t, 3, value(t, m, families.EtcdSize))
	size.Allocated = 4
	require.EqualValues(t, 4, value(t, m, families.EtcdSize), "as it is now")
	problems, err := testutil.GatherAndLint(m.Registry())
	require.NoError(t, err)
	require.Empty(t, problems)
}
