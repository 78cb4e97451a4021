package simhost

import (
	"testing"

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
	used := func(name string) string {
		pod, err := client.MetricsV1beta1().PodMetricses("usage").Get(t.Context(), name, metav1.GetOptions{})
		require.NoError(t, err)
		require.Len(t, pod.Containers, 2)
		return pod.Containers[1].Usage.Cpu().String() + " " + pod.Containers[1].Usage.Memory().String()
	}
	require.Equal(t, "1500m 2Gi", used("busy"))
	require.Equal(t, "1m 1Mi", used("idle"))
	require.Equal(t, "1m 1Mi", used("wrong"))

	pod, err := s.client.CoreV1().Pods("usage").Get(t.Context(), "busy", metav1.GetOptions{})
	require.NoError(t, err)
	node, err := client.MetricsV1beta1().NodeMetricses().Get(t.Context(), pod.Spec.NodeName, metav1.GetOptions{})
	require.NoError(t, err)
	require.GreaterOrEqual(t, node.Usage.Cpu().MilliValue(), int64(3000))
	nodes, err := client.MetricsV1beta1().NodeMetricses().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, nodes.Items, 3)
}
