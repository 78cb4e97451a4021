package hostmetrics

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/metrics/pkg/apis/metrics"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"
	client "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"
)

// Options of a source.
type Options struct {
	Host      *rest.Config
	Namespace string // the host's
	Selector  string // of the tenant's pods in it
	Tenant    Tenant
}

// Tenant is what the tenant's own cluster has.
type Tenant interface {
	// Pods of a namespace ("" for all) that are on the host.
	Pods(namespace string) ([]Pod, error)
	Nodes() ([]Node, error)
}

// Pod is a virtual pod and the name that it has on the host.
type Pod struct {
	Namespace, Name string
	Labels          map[string]string
	HostName        string
	Containers      []string
}

// Node is a virtual node. Its name is the host's.
type Node struct {
	Name   string
	Labels map[string]string
}

// Source is a resourcemetrics.Source.
type Source struct {
	tenant Tenant
	pods   reading[map[string]v1beta1.PodMetrics] // by host name
	nodes  reading[map[string]v1beta1.NodeMetrics]
}

// New connects nothing yet.
func New(o Options) (*Source, error) {
	config := rest.CopyConfig(o.Host)
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	host, err := client.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client of the host's metrics API: %w", err)
	}
	s := &Source{tenant: o.Tenant}
	s.pods.now, s.nodes.now = time.Now, time.Now
	s.pods.read = func(ctx context.Context) (map[string]v1beta1.PodMetrics, error) {
		list, err := host.PodMetricses(o.Namespace).List(ctx, metav1.ListOptions{LabelSelector: o.Selector})
		if err != nil {
			return nil, refusal("pods", err)
		}
		found := make(map[string]v1beta1.PodMetrics, len(list.Items))
		for _, pod := range list.Items {
			found[pod.Name] = pod
		}
		return found, nil
	}
	s.nodes.read = func(ctx context.Context) (map[string]v1beta1.NodeMetrics, error) {
		list, err := host.NodeMetricses().List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, refusal("nodes", err)
		}
		found := make(map[string]v1beta1.NodeMetrics, len(list.Items))
		for _, node := range list.Items {
			found[node.Name] = node
		}
		return found, nil
	}
	return s, nil
}

// Pods of a virtual namespace, "" for all.
func (s *Source) Pods(ctx context.Context, namespace string) ([]metrics.PodMetrics, error) {
	pods, err := s.tenant.Pods(namespace)
	if err != nil {
		return nil, err
	}
	host, err := s.pods.get(ctx)
	if err != nil {
		return nil, err
	}
	var out []metrics.PodMetrics
	for _, pod := range pods {
		if measured, ok := host[pod.HostName]; ok {
			if usage := podUsage(pod, measured); len(usage.Containers) > 0 {
				out = append(out, usage)
			}
		}
	}
	return out, nil
}

func podUsage(pod Pod, host v1beta1.PodMetrics) metrics.PodMetrics {
	out := metrics.PodMetrics{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, Name: pod.Name, Labels: pod.Labels, CreationTimestamp: host.CreationTimestamp,
		},
		Timestamp: host.Timestamp, Window: host.Window,
	}
	for _, container := range host.Containers {
		if slices.Contains(pod.Containers, container.Name) {
			out.Containers = append(out.Containers, metrics.ContainerMetrics{Name: container.Name, Usage: container.Usage})
		}
	}
	return out
}

// Nodes that the tenant sees.
func (s *Source) Nodes(ctx context.Context) ([]metrics.NodeMetrics, error) {
	nodes, err := s.tenant.Nodes()
	if err != nil {
		return nil, err
	}
	host, err := s.nodes.get(ctx)
	if err != nil {
		return nil, err
	}
	var out []metrics.NodeMetrics
	for _, node := range nodes {
		if measured, ok := host[node.Name]; ok {
			out = append(out, metrics.NodeMetrics{
				ObjectMeta: metav1.ObjectMeta{Name: node.Name, Labels: node.Labels, CreationTimestamp: measured.CreationTimestamp},
				Timestamp:  measured.Timestamp, Window: measured.Window, Usage: measured.Usage,
			})
		}
	}
	return out, nil
}
