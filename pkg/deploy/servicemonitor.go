package deploy

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// ServiceMonitor tells the Prometheus Operator, which must be on the host, to scrape the control plane.
type ServiceMonitor struct {
	Enabled bool `json:"enabled"`
	// Interval between two scrapes, such as 30s; empty is Prometheus's own.
	Interval string `json:"interval"`
	// Labels by which a Prometheus selects its ServiceMonitors.
	Labels map[string]string `json:"labels"`
}

// componentLabel tells the Service that is scraped from the others in front of the same pod.
const componentLabel, componentMetrics = "app.kubernetes.io/component", "metrics"

// The part of monitoring.coreos.com/v1 that is used here.
type (
	monitor struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
		Spec              monitorSpec `json:"spec"`
	}
	monitorSpec struct {
		Selector  metav1.LabelSelector `json:"selector"`
		Endpoints []monitorEndpoint    `json:"endpoints"`
		// TargetLabels of the Service go to everything that is scraped.
		TargetLabels []string `json:"targetLabels"`
	}
	monitorEndpoint struct {
		Port      string     `json:"port"`
		Scheme    string     `json:"scheme"`
		Path      string     `json:"path"`
		Interval  string     `json:"interval,omitempty"`
		TLSConfig monitorTLS `json:"tlsConfig"`
	}
	monitorTLS struct {
		CA         monitorSource `json:"ca"`
		Cert       monitorSource `json:"cert"`
		KeySecret  monitorKey    `json:"keySecret"`
		ServerName string        `json:"serverName"`
	}
	monitorSource struct {
		Secret monitorKey `json:"secret"`
	}
	monitorKey struct {
		Name string `json:"name"`
		Key  string `json:"key"`
	}
)

// serviceMonitor uses the credential that the process writes for Prometheus.
func serviceMonitor(o Options) (*unstructured.Unstructured, error) {
	meta := o.meta(o.Tenant)
	for key, value := range o.ServiceMonitor.Labels {
		meta.Labels[key] = value
	}
	key := func(name string) monitorKey { return monitorKey{Name: o.names().Metrics(), Key: name} }
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&monitor{
		TypeMeta: kind("monitoring.coreos.com/v1", "ServiceMonitor"), ObjectMeta: meta,
		Spec: monitorSpec{
			Selector:     metav1.LabelSelector{MatchLabels: map[string]string{ControlPlaneLabel: o.Tenant, componentLabel: componentMetrics}},
			TargetLabels: []string{ControlPlaneLabel},
			Endpoints: []monitorEndpoint{{
				Port: "https", Scheme: "https", Path: "/metrics", Interval: o.ServiceMonitor.Interval,
				TLSConfig: monitorTLS{
					CA: monitorSource{key("ca.crt")}, Cert: monitorSource{key("tls.crt")}, KeySecret: key("tls.key"),
					ServerName: fmt.Sprintf("%s.%s.svc", o.Tenant, o.Namespace),
				},
			}},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("convert the ServiceMonitor of tenant %q: %w", o.Tenant, err)
	}
	return &unstructured.Unstructured{Object: content}, nil
}
