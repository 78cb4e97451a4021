package monitoring

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// Prometheus itself reads the alerts, and lets them fire or not: `make test-alerts`.
func TestPromtool(t *testing.T) {
	t.Parallel()
	promtool := os.Getenv("NESTLING_PROMTOOL")
	if promtool == "" {
		t.Skip("make test-alerts builds promtool and sets NESTLING_PROMTOOL")
	}
	rules, err := Alerts(directory)
	require.NoError(t, err)
	text, err := yaml.Marshal(rules)
	require.NoError(t, err)
	tests, err := os.ReadFile(filepath.Join("testdata", "alerts_test.yaml"))
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rules.yaml"), text, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "alerts_test.yaml"), tests, 0o644))
	for _, args := range [][]string{
		{"check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"},
		{"test", "rules", "alerts_test.yaml"},
	} {
		command := exec.CommandContext(t.Context(), promtool, args...)
		command.Dir = dir
		out, err := command.CombinedOutput()
		require.NoError(t, err, "promtool %v: %s", args, out)
	}
}

// A test of an alert that is not there would prove nothing, and neither would an alert without.
func TestEveryAlertIsTested(t *testing.T) {
	t.Parallel()
	rules, err := Alerts(directory)
	require.NoError(t, err)
	tests, err := os.ReadFile(filepath.Join("testdata", "alerts_test.yaml"))
	require.NoError(t, err)
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			require.Contains(t, string(tests), `exp_samples: [{labels: '{alertname="`+rule.Alert+`"}', value: 1}]`, "%s has to fire", rule.Alert)
		}
	}
}
