package stories

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"
	metrics "k8s.io/metrics/pkg/client/clientset/versioned"
)

// usage is what metrics.k8s.io tells, and what follows from it.
func usage() []Story {
	return []Story{
		{Name: "kubectl top shows what pods and nodes use", Run: top},
		{Name: "without the right to see what nodes use the reason is told", Run: topWithoutRight},
		{Name: "an autoscaler adds replicas under load, and takes them away after it", Run: autoscaler},
	}
}

// burner has two containers, one of which burns processor time as long as /tmp/busy is
// there. Simulated pods use what an annotation says, see burn.
const burner = `
terminationGracePeriodSeconds: 1
containers:
- name: main
  image: IMAGE
  command: [sh, -c, "trap exit TERM; while :; do if [ -e /tmp/busy ]; then i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done; else sleep 1 & wait; fi; done"]
  resources: {requests: {cpu: 40m, memory: 8Mi}, limits: {cpu: 120m}}
- name: side
  image: IMAGE
  resources: {requests: {cpu: 10m, memory: 8Mi}, limits: {cpu: 100m}}
`

// burn makes a burner busy, or lets it rest.
func burn(t *testing.T, w *World, tenant *Tenant, pod *corev1.Pod, busy bool) {
	t.Helper()
	switch {
	case w.Real && busy:
		shell(t, tenant, pod, "main", "touch /tmp/busy")
	case w.Real:
		shell(t, tenant, pod, "main", "rm /tmp/busy")
	default:
		cpu := map[bool]string{true: "60m", false: "1m"}[busy]
		_, err := tenant.Client.CoreV1().Pods(pod.Namespace).Patch(t.Context(), pod.Name, types.MergePatchType,
			fmt.Appendf(nil, `{"metadata":{"annotations":{"kwok.x-k8s.io/usage-cpu":%q}}}`, cpu), metav1.PatchOptions{})
		require.NoError(t, err)
	}
}

// indent puts a part of a manifest two columns further in.
func indent(part string) string { return strings.ReplaceAll(part, "\n", "\n  ") }

func metricsClient(t *testing.T, tenant *Tenant) metrics.Interface {
	t.Helper()
	client, err := metrics.NewForConfig(tenant.Config)
	require.NoError(t, err)
	return client
}

func top(t *testing.T, w *World) {
	space := namespace(t, w.A, "top")
	pod := runPod(t, w, w.A, space, "metadata: {name: burner, labels: {app: burner}}\nspec:"+indent(burner))
	burn(t, w, w.A, pod, true)
	client := metricsClient(t, w.A).MetricsV1beta1()
	var used v1beta1.PodMetrics
	eventually(t, "the pod's use of processor time", func(ctx context.Context) (bool, string) {
		list, err := client.PodMetricses(space).List(ctx, metav1.ListOptions{LabelSelector: "app=burner"})
		if err != nil || len(list.Items) != 1 {
			return false, fmt.Sprint(list, err)
		}
		used = list.Items[0]
		return cpuOf(used, "main") >= 40, asJSON(used)
	})
	require.Equal(t, "burner", used.Name)
	require.Equal(t, pod.Labels["app"], used.Labels["app"])
	require.Len(t, used.Containers, 2)
	require.Positive(t, used.Window.Duration)
	requireTenantsWords(t, w, hostPodOf(t, w, w.A, pod), asJSON(used))

	// The other tenant, in the same host namespace, sees nothing of it.
	others, err := metricsClient(t, w.B).MetricsV1beta1().PodMetricses("").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.NotContains(t, asJSON(others), "burner")

	// What a kubelet answers too late is not there until it is asked again.
	names := nodeNames(t, w)
	eventually(t, "what every node uses", func(ctx context.Context) (bool, string) {
		nodes, err := client.NodeMetricses().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		var using []string
		for _, node := range nodes.Items {
			if node.Usage.Cpu().MilliValue() > 0 && node.Usage.Memory().Value() > 0 {
				using = append(using, node.Name)
			}
		}
		return slices.Equal(names, using), asJSON(nodes)
	})

	// A host that was given its metrics API a moment ago may have been without before.
	eventually(t, "discovery lists it", func(context.Context) (bool, string) {
		_, err := w.A.Client.Discovery().ServerResourcesForGroupVersion("metrics.k8s.io/v1beta1")
		return err == nil, errText(err)
	})
	if w.Kubectl == "" {
		return
	}
	eventuallyKubectl(t, w, w.A, space, `NAME +CPU\(cores\) +MEMORY\(bytes\) *\nburner +\d+m +\d+Mi *\n$`, "top", "pods")
	eventuallyKubectl(t, w, w.A, space, `burner +main +\d+m +\d+Mi *\nburner +side +\d+m +\d+Mi *\n`, "top", "pod", "burner", "--containers")
	eventuallyKubectl(t, w, w.A, space, space+` +burner +\d+m`, "top", "pods", "--all-namespaces", "--sort-by=cpu")
	eventuallyKubectl(t, w, w.A, space, names[0]+` +\d+m +\d+% +\d+Mi +\d+%`, "top", "nodes")
}

func topWithoutRight(t *testing.T, w *World) {
	if w.Namespaced == nil {
		t.Skip("this world has no tenant without a ClusterRole")
	}
	client := metricsClient(t, w.Namespaced).MetricsV1beta1()
	_, err := client.NodeMetricses().List(t.Context(), metav1.ListOptions{})
	require.True(t, apierrors.IsServiceUnavailable(err), err)
	require.ErrorContains(t, err, "may not list nodes.metrics.k8s.io on the host cluster; whoever runs it must grant that")
	eventually(t, "pods, which its Role lets it see", func(ctx context.Context) (bool, string) {
		_, err := client.PodMetricses("").List(ctx, metav1.ListOptions{})
		return err == nil, errText(err)
	})
	if w.Kubectl != "" {
		require.Equal(t, "No resources found in default namespace.\n", kubectl(t, w, w.Namespaced, "default", "get", "cronjobs"), "nothing else is disturbed")
	}
}

// cpuOf a container, in thousandths of a core.
func cpuOf(pod v1beta1.PodMetrics, container string) int64 {
	for _, used := range pod.Containers {
		if used.Name == container {
			return used.Usage.Cpu().MilliValue()
		}
	}
	return 0
}

func autoscaler(t *testing.T, w *World) {
	ctx, client, space := t.Context(), w.A.Client, namespace(t, w.A, "autoscaler")
	_, err := client.AppsV1().Deployments(space).Create(ctx, decode[appsv1.Deployment](t, w, `
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:`+indent(indent(indent(burner)))), metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = client.AutoscalingV2().HorizontalPodAutoscalers(space).Create(ctx, decode[autoscalingv2.HorizontalPodAutoscaler](t, w, `
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 1
  maxReplicas: 3
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}]
  behavior: {scaleDown: {stabilizationWindowSeconds: 0}}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	pods := func() []corev1.Pod {
		list, err := client.CoreV1().Pods(space).List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		require.NoError(t, err)
		return list.Items
	}
	eventually(t, "the first pod", func(context.Context) (bool, string) {
		found := pods()
		return len(found) == 1 && isReady(&found[0]), asJSON(found)
	})
	first := pods()[0]

	burn(t, w, w.A, &first, true)
	waitScaled(t, w.A, space, func(size int32) bool { return size > 1 })
	waitEvent(t, w.A, space, "web", "SuccessfulRescale", "reason: cpu resource utilization (percentage of request) above target")

	burn(t, w, w.A, &first, false)
	waitScaled(t, w.A, space, func(size int32) bool { return size == 1 })
	waitEvent(t, w.A, space, "web", "SuccessfulRescale", "New size: 1; reason: All metrics below target")
	if w.Kubectl != "" {
		eventuallyKubectl(t, w, w.A, space, `web +Deployment/web +cpu: \d+%/60% +1 +3 +\d+ `, "get", "hpa")
	}
}

// waitScaled waits until the autoscaler and the Deployment agree on a size, and the
// autoscaler sees and can do all that it wants.
func waitScaled(t *testing.T, tenant *Tenant, namespace string, is func(size int32) bool) {
	t.Helper()
	eventually(t, "another size", func(ctx context.Context) (bool, string) {
		scaler, err := tenant.Client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		deployment, err := tenant.Client.AppsV1().Deployments(namespace).Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		holds := map[autoscalingv2.HorizontalPodAutoscalerConditionType]bool{}
		for _, condition := range scaler.Status.Conditions {
			holds[condition.Type] = condition.Status == corev1.ConditionTrue
		}
		size := deployment.Status.AvailableReplicas
		return is(size) && scaler.Status.DesiredReplicas == size && deployment.Status.Replicas == size &&
			holds[autoscalingv2.AbleToScale] && holds[autoscalingv2.ScalingActive], asJSON(scaler.Status) + asJSON(deployment.Status)
	})
}
