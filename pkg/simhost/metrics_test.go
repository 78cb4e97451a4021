package simhost

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metrics "k8s.io/metrics/pkg/client/clientset/versioned"
)

func (s story) usage(t *testing.T) {
	client, err := metrics.NewForConfig(s.host.Config())
	require.NoError(t, err)
	for name, annotations := range map[string]map[string]string{
		"busy":  {CPUUsageAnnotation: "1500m", MemoryUsageAnnotation: "2Gi"},
		"idle":  nil,
		"wrong": {CPUUsageAnnotation: "much", MemoryUsageAnnotation: "-1"},
	} {
		_, err := s.client.CoreV1().Pods("usage").Create(t.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "image:1"}, {Name: "side", Image: "image:1"}}},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
		s.podRuns(t, "usage", name)
	}
	// Usage is read from the API server's cache, which may be a moment behind a pod that runs.
	uses := func(name, want string) {
		t.Helper()
		eventually(t, 20*time.Second, func(ctx context.Context) string {
			pod, err := client.MetricsV1beta1().PodMetricses("usage").Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err.Error()
			}
			require.Len(t, pod.Containers, 2)
			if got := pod.Containers[1].Usage.Cpu().String() + " " + pod.Containers[1].Usage.Memory().String(); got != want {
				return name + " uses " + got
			}
			return ""
		})
	}
	uses("busy", "1500m 2Gi")
	uses("idle", "1m 1Mi")
	uses("wrong", "1m 1Mi")

	pod, err := s.client.CoreV1().Pods("usage").Get(t.Context(), "busy", metav1.GetOptions{})
	require.NoError(t, err)
	eventually(t, 20*time.Second, func(ctx context.Context) string {
		node, err := client.MetricsV1beta1().NodeMetricses().Get(ctx, pod.Spec.NodeName, metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if node.Usage.Cpu().MilliValue() < 3000 {
			return node.Name + " uses " + node.Usage.Cpu().String()
		}
		return ""
	})
	nodes, err := client.MetricsV1beta1().NodeMetricses().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, nodes.Items, 3)
}
