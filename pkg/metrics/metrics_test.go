package metrics_test

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"nestling.dev/nestling/pkg/metrics"
)

// scrape returns the page and the number of times that each family is on it.
func scrape(t *testing.T, m *metrics.Metrics) (page string, families map[string]int) {
	t.Helper()
	recorder := httptest.NewRecorder()
	m.Handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, recorder.Code)
	families = map[string]int{}
	lines := bufio.NewScanner(strings.NewReader(recorder.Body.String()))
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "# TYPE "); ok {
			name, _, _ := strings.Cut(rest, " ")
			families[name]++
		}
	}
	return recorder.Body.String(), families
}

func TestPageHasOwnMetrics(t *testing.T) {
	t.Parallel()
	m := metrics.New("v1.2.3")
	m.ObserveStart("etcd", 250*time.Millisecond)
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "nestling_example_total", Help: "An example."})
	m.Registerer().MustRegister(counter)
	counter.Inc()

	page, _ := scrape(t, m)
	require.Contains(t, page, `nestling_build_info{version="v1.2.3"} 1`)
	require.Contains(t, page, `nestling_component_start_seconds{component="etcd"} 0.25`)
	require.Contains(t, page, "nestling_example_total 1")
}

func TestPageHasEveryFamilyOnce(t *testing.T) {
	t.Parallel()
	_, families := scrape(t, metrics.New("v1.2.3"))
	require.Contains(t, families, "go_goroutines", "a family of both Kubernetes' and the default registry")
	for family, times := range families {
		require.Equal(t, 1, times, family)
	}
}
