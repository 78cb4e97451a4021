package monitoring

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

// Rule is one alert.
type Rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Rules is a rule file of Prometheus.
type Rules struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []Rule `json:"rules"`
	} `json:"groups"`
}

// Alerts are those of alerts.yaml in a directory, which is for the Prometheus Operator.
func Alerts(directory string) (Rules, error) {
	var object struct {
		APIVersion string         `json:"apiVersion"`
		Kind       string         `json:"kind"`
		Metadata   map[string]any `json:"metadata"`
		Spec       Rules          `json:"spec"`
	}
	path := filepath.Join(directory, "alerts.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		return Rules{}, err
	}
	if err := yaml.UnmarshalStrict(text, &object); err != nil {
		return Rules{}, fmt.Errorf("%s: %w", path, err)
	}
	if object.APIVersion != "monitoring.coreos.com/v1" || object.Kind != "PrometheusRule" {
		return Rules{}, fmt.Errorf("%s is a %s of %s", path, object.Kind, object.APIVersion)
	}
	return object.Spec, nil
}

// Panel is one of a dashboard.
type Panel struct {
	ID          int    `json:"id"`
	Type        string `json:"type"`
	Title       string `json:"title"`
	Description string `json:"description"`
	GridPos     struct {
		X int `json:"x"`
		Y int `json:"y"`
		W int `json:"w"`
		H int `json:"h"`
	} `json:"gridPos"`
	Targets []struct {
		Expr string `json:"expr"`
	} `json:"targets"`
}

// Dashboard is the part of Grafana's that matters here.
type Dashboard struct {
	Panels     []Panel `json:"panels"`
	Templating struct {
		List []struct {
			Name  string          `json:"name"`
			Query json.RawMessage `json:"query"`
		} `json:"list"`
	} `json:"templating"`
}

// ReadDashboard reads dashboard.json in a directory.
func ReadDashboard(directory string) (Dashboard, error) {
	var out Dashboard
	path := filepath.Join(directory, "dashboard.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return out, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}
