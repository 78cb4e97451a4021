package monitoring

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"nestling.dev/nestling/pkg/metrics/families"
)

const directory = "../../manifests/monitoring"

func TestFamiliesOfAQuery(t *testing.T) {
	t.Parallel()
	for query, want := range map[string][]string{
		`up{job="a_b"} == 0`: {"up"},
		`histogram_quantile(0.9, sum by (le, kind) (rate(x_seconds_bucket{kind=~"a|b"}[5m]))) > 1 and on (a) y_total offset 1h`: {"x_seconds", "y_total"},
		`a_total / (b_total > 2) or min_over_time(c[$__rate_interval:1m])`:                                                      {"a_total", "b_total", "c"},
	} {
		require.Equal(t, want, Families(query), query)
	}
}

// known are the families that may be asked for.
func known() []string {
	out := slices.Concat(Upstream(), Synthetic())
	for _, family := range families.All() {
		out = append(out, family.Name)
	}
	return out
}

func TestAlertsAskForWhatThereIs(t *testing.T) {
	t.Parallel()
	rules, err := Alerts(directory)
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			require.False(t, seen[rule.Alert], "%s is there twice", rule.Alert)
			seen[rule.Alert] = true
			require.True(t, strings.HasPrefix(rule.Alert, "Nestling"), rule.Alert)
			require.NotEmpty(t, Families(rule.Expr), rule.Alert)
			require.Subset(t, known(), Families(rule.Expr), rule.Alert)
			require.Contains(t, []string{"info", "warning", "critical"}, rule.Labels["severity"], rule.Alert)
			require.Regexp(t, `\.$`, rule.Annotations["summary"], "%s: what is wrong, in a sentence", rule.Alert)
			require.Regexp(t, `\.$`, rule.Annotations["runbook"], "%s: what to do, in a sentence", rule.Alert)
			require.Len(t, rule.Annotations, 2, rule.Alert)
		}
	}
}

func TestTheDashboardAsksForWhatThereIs(t *testing.T) {
	t.Parallel()
	dashboard, err := ReadDashboard(directory)
	require.NoError(t, err)
	ids := map[int]bool{}
	taken := map[[2]int]string{} // cells of the grid
	shown := map[string]bool{}
	for _, panel := range dashboard.Panels {
		require.False(t, ids[panel.ID], "%s: id %d is there twice", panel.Title, panel.ID)
		ids[panel.ID] = true
		for x := panel.GridPos.X; x < panel.GridPos.X+panel.GridPos.W; x++ {
			for y := panel.GridPos.Y; y < panel.GridPos.Y+panel.GridPos.H; y++ {
				require.Empty(t, taken[[2]int{x, y}], "%s lies on another panel", panel.Title)
				taken[[2]int{x, y}] = panel.Title
				require.Less(t, x, 24, panel.Title)
			}
		}
		if panel.Type == "row" {
			continue
		}
		require.NotEmpty(t, panel.Description, panel.Title)
		require.NotEmpty(t, panel.Targets, panel.Title)
		for _, target := range panel.Targets {
			asked := Families(target.Expr)
			require.NotEmpty(t, asked, panel.Title)
			require.Subset(t, known(), asked, panel.Title)
			require.Equal(t, strings.Count(target.Expr, "{"), strings.Count(target.Expr, `{namespace="$namespace", nestling_dev_control_plane="$tenant"`),
				"%s: every series is one tenant's", panel.Title)
			for _, name := range asked {
				shown[name] = true
			}
		}
	}
	for _, family := range families.All() {
		require.True(t, shown[family.Name], "%s is on no panel", family.Name)
	}
	for _, variable := range dashboard.Templating.List {
		var query struct{ Query string }
		if json.Unmarshal(variable.Query, &query) == nil && query.Query != "" {
			require.Contains(t, query.Query, "label_values("+families.BuildInfo, variable.Name)
		}
	}
}
