package families_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"

	"nestling.dev/nestling/pkg/metrics/families"
)

var update = flag.Bool("update", false, "write the README's table")

// The README's table of metrics is the list. `make update-generated` writes it.
func TestTheTableOfMetrics(t *testing.T) {
	t.Parallel()
	const (
		file       = "../../../README.md"
		begin, end = "<!-- metrics: make update-generated -->\n", "<!-- metrics end -->\n"
	)
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(content), begin)
	require.True(t, found, "%s has no line %s", file, begin)
	table, after, found := strings.Cut(rest, end)
	require.True(t, found, "%s has no line %s", file, end)
	want := tableOfMetrics()
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(before+begin+want+end+after), 0o644))
		return
	}
	require.Empty(t, cmp.Diff(table, want), "the table of metrics is not the list: run `make update-generated`")
}

func tableOfMetrics() string {
	var out strings.Builder
	out.WriteString("| metric | type | unit | labels | what it tells |\n|---|---|---|---|---|\n")
	for _, family := range families.All() {
		labels := "none"
		if len(family.Labels) > 0 {
			labels = "`" + strings.Join(family.Labels, "`, `") + "`"
		}
		unit := family.Unit
		if unit == "" {
			unit = "count"
		}
		help := family.Help
		if family.When != "" {
			help += " There if " + family.When + "."
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s | %s |\n", family.Name, family.Type, unit, labels, help)
	}
	return out.String()
}

// What Prometheus' own linter says of names and words.
func TestFamiliesAreAsPrometheusWantsThem(t *testing.T) {
	t.Parallel()
	var page strings.Builder
	seen := map[string]bool{}
	for _, family := range families.All() {
		require.False(t, seen[family.Name], "%s is in the list twice", family.Name)
		seen[family.Name] = true
		require.True(t, strings.HasPrefix(family.Name, "nestling_"), family.Name)
		require.NotEmpty(t, family.Help, family.Name)
		fmt.Fprintf(&page, "# HELP %s %s\n# TYPE %s %s\n", family.Name, family.Help, family.Name, family.Type)
		if family.Type == families.Histogram {
			fmt.Fprintf(&page, "%s_bucket{le=\"+Inf\"} 1\n%s_sum 1\n%s_count 1\n", family.Name, family.Name, family.Name)
			continue
		}
		fmt.Fprintf(&page, "%s 1\n", family.Name)
	}
	problems, err := promlint.New(strings.NewReader(page.String())).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
}

func TestOnlyWhatIsInTheListIsMade(t *testing.T) {
	t.Parallel()
	require.PanicsWithValue(t, "metrics: family nestling_other is not in the list", func() { families.NewDesc("nestling_other") })
	require.PanicsWithValue(t, "metrics: family nestling_host_up is a gauge, not a counter", func() { families.NewCounter(families.HostUp) })
}
