package simhost

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/metrics/pkg/apis/metrics"
)

// Annotations by which a pod says what each of its containers uses: KWOK's own.
const (
	CPUUsageAnnotation    = "kwok.x-k8s.io/usage-cpu"
	MemoryUsageAnnotation = "kwok.x-k8s.io/usage-memory"
)

// usageWindow is the time over which usage is said to have been measured. The
// autoscaler leaves out pods that are ready for less.
const usageWindow = 10 * time.Second

// idleUsage is that of a container of which nothing is said.
func idleUsage() corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("1m"),
		corev1.ResourceMemory: resource.MustParse("1Mi"),
	}
}

// usage is the source of the host's metrics.k8s.io.
type usage struct {
	host *Host
	now  func() time.Time
}

// Pods that run.
func (u usage) Pods(ctx context.Context, namespace string) ([]metrics.PodMetrics, error) {
	pods, err := u.running(ctx, namespace)
	if err != nil {
		return nil, err
	}
	now := metav1.NewTime(u.now())
	var out []metrics.PodMetrics
	for i := range pods {
		out = append(out, podUsage(&pods[i], now))
	}
	return out, nil
}

// Nodes use what their pods use.
func (u usage) Nodes(ctx context.Context) ([]metrics.NodeMetrics, error) {
	pods, err := u.running(ctx, metav1.NamespaceAll)
	if err != nil {
		return nil, err
	}
	nodes, err := u.host.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return nil, err
	}
	now := metav1.NewTime(u.now())
	used := map[string]corev1.ResourceList{}
	for _, node := range nodes.Items {
		used[node.Name] = idleUsage()
	}
	for i := range pods {
		if sum := used[pods[i].Spec.NodeName]; sum != nil {
			for _, container := range podUsage(&pods[i], now).Containers {
				for name, quantity := range container.Usage {
					total := sum[name]
					total.Add(quantity)
					sum[name] = total
				}
			}
		}
	}
	var out []metrics.NodeMetrics
	for _, node := range nodes.Items {
		if node.Labels[aliveLabel] == "" {
			continue // a dead kubelet tells nothing
		}
		out = append(out, metrics.NodeMetrics{
			ObjectMeta: metav1.ObjectMeta{Name: node.Name, Labels: node.Labels, CreationTimestamp: now},
			Timestamp:  now, Window: metav1.Duration{Duration: usageWindow}, Usage: used[node.Name],
		})
	}
	return out, nil
}

func (u usage) running(ctx context.Context, namespace string) ([]corev1.Pod, error) {
	select {
	case <-u.host.apiReady:
	default:
		return nil, apierrors.NewServiceUnavailable("the simulated host is starting")
	}
	list, err := u.host.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return nil, err
	}
	var out []corev1.Pod
	for _, pod := range list.Items {
		if pod.Status.Phase == corev1.PodRunning {
			out = append(out, pod)
		}
	}
	return out, nil
}

func podUsage(pod *corev1.Pod, now metav1.Time) metrics.PodMetrics {
	out := metrics.PodMetrics{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, Labels: pod.Labels, CreationTimestamp: now},
		Timestamp:  now, Window: metav1.Duration{Duration: usageWindow},
	}
	for _, container := range pod.Spec.Containers {
		out.Containers = append(out.Containers, metrics.ContainerMetrics{Name: container.Name, Usage: usageOf(pod)})
	}
	return out
}

// usageOf each container; what cannot be read counts as nothing said.
func usageOf(pod *corev1.Pod) corev1.ResourceList {
	out := idleUsage()
	for name, annotation := range map[corev1.ResourceName]string{
		corev1.ResourceCPU: CPUUsageAnnotation, corev1.ResourceMemory: MemoryUsageAnnotation,
	} {
		if quantity, err := resource.ParseQuantity(pod.Annotations[annotation]); err == nil && quantity.Sign() >= 0 {
			out[name] = quantity
		}
	}
	return out
}
