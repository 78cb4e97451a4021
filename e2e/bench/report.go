package bench

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/kubernetes"
)

// Report prints lines, and appends them to the file named by NESTLING_BENCH_RESULTS.
func Report(t *testing.T, format string, args ...any) {
	t.Helper()
	line := fmt.Sprintf(format, args...)
	t.Log(line)
	path := os.Getenv("NESTLING_BENCH_RESULTS")
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fmt.Fprintln(file, "- "+line)
}

// StartTimes are the seconds that each component of a tenant's process took to start.
func StartTimes(ctx context.Context, tenant kubernetes.Interface) (string, error) {
	page, err := tenant.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return "", err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(page)))
	if err != nil {
		return "", err
	}
	var parts []string
	total := 0.0
	for _, metric := range families["nestling_component_start_seconds"].GetMetric() {
		total += metric.GetGauge().GetValue()
		parts = append(parts, fmt.Sprintf("%s %.2f s", metric.Label[0].GetValue(), metric.GetGauge().GetValue()))
	}
	sort.Strings(parts)
	return fmt.Sprintf("%.2f s (%s)", total, strings.Join(parts, ", ")), nil
}

// Wanted skips a benchmark unless `make bench` runs it.
func Wanted(t *testing.T) {
	t.Helper()
	if os.Getenv("NESTLING_BENCH") == "" {
		t.Skip("benchmarks run by `make bench`")
	}
}

// Idle is how long a tenant is left alone before its memory is read; a profiler may
// shorten it.
func Idle(t *testing.T) time.Duration {
	t.Helper()
	given, err := time.ParseDuration(cmp.Or(os.Getenv("NESTLING_BENCH_IDLE"), "2m"))
	if err != nil {
		t.Fatalf("NESTLING_BENCH_IDLE: %v", err)
	}
	return given
}

// Rounds is how often a burst is measured; a profiler may do with one.
func Rounds(t *testing.T) int {
	t.Helper()
	given, err := strconv.Atoi(cmp.Or(os.Getenv("NESTLING_BENCH_ROUNDS"), "3"))
	if err != nil {
		t.Fatalf("NESTLING_BENCH_ROUNDS: %v", err)
	}
	return given
}
