package stories

import (
	"context"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// changes are what may happen to a pod that runs.
func changes() []Story {
	return []Story{
		{Name: "a pod that is deleted runs its hook, is told to end, and has its time", Real: true, Run: toldToEnd},
		{Name: "a rollout goes on, and back", Run: rollout},
		{Name: "a container gets other resources in place", Real: true, Run: resize},
		{Name: "a new image restarts the container, not the pod", Real: true, Run: newImage},
		{Name: "an eviction in the tenant obeys its disruption budgets", Run: eviction},
		{Name: "labels and annotations follow", Run: changedMetadata},
		{Name: "kubectl wait, describe and events tell the tenant's story", Run: told},
	}
}

func toldToEnd(t *testing.T, w *World) {
	space := namespace(t, w.A, "graceful")
	pod := runPod(t, w, w.A, space, `
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 30
  containers:
  - name: main
    image: IMAGE
    command: [sh, -c, "trap 'echo told to end; sleep 1; echo ends; exit 0' TERM; while :; do sleep 0.1; done"]
    lifecycle: {preStop: {exec: {command: [sh, -c, "echo hook > /proc/1/fd/1; sleep 1"]}}}
`)
	stream, err := w.A.Client.CoreV1().Pods(space).GetLogs(pod.Name, &corev1.PodLogOptions{Follow: true}).Stream(t.Context())
	require.NoError(t, err)
	defer func() { _ = stream.Close() }()
	require.NoError(t, w.A.Client.CoreV1().Pods(space).Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(20))}))
	said, err := io.ReadAll(stream)
	require.NoError(t, err)
	// When the container is removed before the log is read to its end, kubelet's last word says so.
	require.True(t, strings.HasPrefix(string(said), "hook\ntold to end\nends\n"), string(said))
	waitGone(t, w, space, pod)
}

func rollout(t *testing.T, w *World) {
	space := namespace(t, w.A, "rollout")
	_, err := w.A.Client.AppsV1().Deployments(space).Create(t.Context(), decode[appsv1.Deployment](t, w, `
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: web, image: IMAGE, env: [{name: COLOR, value: blue}]}]
`), metav1.CreateOptions{})
	require.NoError(t, err)
	status := func() { kubectl(t, w, w.A, space, "rollout", "status", "deployment/web", kubectlPatience) }
	colors := func() string {
		t.Helper()
		var seen []string
		for _, pod := range podsOf(t, w.A, space, "app=web") {
			if pod.DeletionTimestamp == nil {
				seen = append(seen, pod.Spec.Containers[0].Env[0].Value)
			}
		}
		return strings.Join(seen, ",")
	}
	uids := func() map[string]bool {
		out := map[string]bool{}
		for _, pod := range podsOf(t, w.A, space, "app=web") {
			out[string(pod.UID)] = true
		}
		return out
	}
	status()
	before := uids()
	kubectl(t, w, w.A, space, "rollout", "restart", "deployment/web")
	status()
	for _, pod := range podsOf(t, w.A, space, "app=web") {
		require.True(t, pod.DeletionTimestamp != nil || !before[string(pod.UID)], "another pod")
	}
	kubectl(t, w, w.A, space, "set", "env", "deployment/web", "COLOR=red")
	status()
	require.Equal(t, "red,red", colors())
	kubectl(t, w, w.A, space, "rollout", "undo", "deployment/web")
	status()
	require.Equal(t, "blue,blue", colors())
	require.Contains(t, kubectl(t, w, w.A, space, "rollout", "history", "deployment/web"), "4 ")
}

func resize(t *testing.T, w *World) {
	space := namespace(t, w.A, "resize")
	pod := runPod(t, w, w.A, space, `
metadata: {name: web}
spec:
  containers:
  - name: main
    image: IMAGE
    resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {cpu: 100m, memory: 64Mi}}
`)
	// cgroup v1 or v2, in bytes.
	const limit = "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes"
	require.Equal(t, "67108864", shell(t, w.A, pod, "", limit))
	kubectl(t, w, w.A, space, "patch", "pod", "web", "--subresource", "resize", "--patch",
		`{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"20m"},"limits":{"cpu":"200m","memory":"96Mi"}}}]}}`)
	eventuallyShell(t, w.A, pod, limit, "100663296")
	pod = waitPod(t, w.A, space, "web", "shows its new resources", func(pod *corev1.Pod) bool {
		actual := containerStatus(pod, "main").Resources
		return actual != nil && actual.Limits.Memory().Equal(resource.MustParse("96Mi")) && actual.Limits.Cpu().Equal(resource.MustParse("200m"))
	})
	waitPod(t, w.A, space, "web", "has no resize under way", func(pod *corev1.Pod) bool {
		return condition(pod, corev1.PodResizePending) == "" && condition(pod, corev1.PodResizeInProgress) == ""
	})
	require.Zero(t, containerStatus(pod, "main").RestartCount, "in place")

	// More than the node has free waits, and says so; more than it has at all is refused.
	node, err := w.A.Client.CoreV1().Nodes().Get(t.Context(), pod.Spec.NodeName, metav1.GetOptions{})
	require.NoError(t, err)
	all := node.Status.Allocatable.Cpu().String()
	kubectl(t, w, w.A, space, "patch", "pod", "web", "--subresource", "resize", "--patch",
		`{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"`+all+`"},"limits":{"cpu":"`+all+`"}}}]}}`)
	waitPod(t, w.A, space, "web", "waits for room", func(pod *corev1.Pod) bool {
		return condition(pod, corev1.PodResizePending) == corev1.ConditionTrue
	})
	tooMuch := 5000
	eventually(t, "the host's refusal", func(context.Context) (bool, string) {
		tooMuch++ // a host that takes long is not asked, nor about what was let pass before
		_, messages, code := session{}.run(t, w, space, "patch", "pod", "web", "--subresource", "resize", "--patch",
			fmt.Sprintf(`{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"%[1]d"},"limits":{"cpu":"%[1]d"}}}]}}`, tooMuch))
		return code != 0 && strings.Contains(messages, "node didn't have enough allocatable resources: cpu"), messages
	})
}

func newImage(t *testing.T, w *World) {
	space := namespace(t, w.A, "image")
	pod := runPod(t, w, w.A, space, `
metadata: {name: web}
spec: {containers: [{name: main, image: IMAGE, command: [/agnhost, pause]}, {name: other, image: IMAGE}]}
`)
	require.Equal(t, "sh", shell(t, w.A, pod, "main", "basename $(which sh)"))
	kubectl(t, w, w.A, space, "set", "image", "pod/web", "main="+agnhostImage)
	after := waitPod(t, w.A, space, "web", "runs the new image", func(pod *corev1.Pod) bool {
		status := containerStatus(pod, "main")
		return status.RestartCount == 1 && status.State.Running != nil && status.Image == agnhostImage
	})
	require.Equal(t, pod.UID, after.UID)
	require.Zero(t, containerStatus(after, "other").RestartCount)
	_, err := tryShell(t.Context(), w.A, after, "main", "true")
	require.Error(t, err, "that image has no shell")
	waitEvent(t, w.A, space, "web", "Killing", "Container main definition changed, will be restarted")
}

func eviction(t *testing.T, w *World) {
	space := namespace(t, w.A, "eviction")
	_, err := w.A.Client.PolicyV1().PodDisruptionBudgets(space).Create(t.Context(), decode[policyv1.PodDisruptionBudget](t, w, `
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	createDeployment(t, w, w.A, space, "web", 1, "")
	pod := waitReadyPods(t, w.A, space, "web", 1)[0]
	eventually(t, "the budget", func(ctx context.Context) (bool, string) {
		found, err := w.A.Client.PolicyV1().PodDisruptionBudgets(space).Get(ctx, "web", metav1.GetOptions{})
		return err == nil && found.Status.CurrentHealthy == 1 && found.Status.ObservedGeneration == found.Generation, errText(err)
	})
	evict := func() error {
		return w.A.Client.CoreV1().Pods(space).EvictV1(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: space}})
	}
	require.True(t, apierrors.IsTooManyRequests(evict()), "one is the least")
	_, err = w.A.Client.AppsV1().Deployments(space).UpdateScale(t.Context(), "web",
		&autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: space}, Spec: autoscalingv1.ScaleSpec{Replicas: 2}}, metav1.UpdateOptions{})
	require.NoError(t, err)
	waitReadyPods(t, w.A, space, "web", 2)
	eventually(t, "the eviction", func(context.Context) (bool, string) {
		err := evict()
		return err == nil, errText(err)
	})
	waitGone(t, w, space, &pod)
	waitReadyPods(t, w.A, space, "web", 2)
}

func changedMetadata(t *testing.T, w *World) {
	space := namespace(t, w.A, "metadata")
	pod := runPod(t, w, w.A, space, `
metadata: {name: web, labels: {app: web, old: label}, annotations: {old: note}}
spec: {containers: [{name: main, image: IMAGE}]}
`)
	// What others put on the host pod survives.
	_, err := w.Host.CoreV1().Pods(w.HostNamespace).Patch(t.Context(), hostPodOf(t, w, w.A, pod).Name, "application/merge-patch+json",
		[]byte(`{"metadata":{"labels":{"team":"platform"},"annotations":{"cost":"42"}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	patchPod(t, w.A, pod, `{"metadata":{"labels":{"app":"shop","old":null},"annotations":{"new":"note","old":null}}}`)
	eventually(t, "the host pod's labels and annotations", func(context.Context) (bool, string) {
		host := hostPodOf(t, w, w.A, pod)
		_, oldLabel := host.Labels["old"]
		_, oldNote := host.Annotations["old"]
		return host.Labels["app"] == "shop" && host.Annotations["new"] == "note" && !oldLabel && !oldNote &&
			host.Labels["team"] == "platform" && host.Annotations["cost"] == "42", asJSON(host.ObjectMeta)
	})
	found, err := w.A.Client.CoreV1().Pods(space).Get(t.Context(), "web", metav1.GetOptions{})
	require.NoError(t, err)
	maps.DeleteFunc(found.Labels, func(key, _ string) bool { return strings.HasPrefix(key, "topology.kubernetes.io/") }) // the node's, by the API server
	require.Equal(t, map[string]string{"app": "shop"}, found.Labels)
	require.Equal(t, map[string]string{"new": "note"}, found.Annotations)

	// Our own marks are closed to tenants.
	patchPod(t, w.A, pod, `{"metadata":{"labels":{"nestling.dev/tenant":"other","nestling.dev/control-plane":"`+w.A.Name+`"},"annotations":{"nestling.dev/name":"other"}}}`)
	patchPod(t, w.A, pod, `{"metadata":{"labels":{"app":"last"}}}`)
	eventually(t, "the last label", func(context.Context) (bool, string) {
		return hostPodOf(t, w, w.A, pod).Labels["app"] == "last", ""
	})
	host := hostPodOf(t, w, w.A, pod)
	require.Equal(t, w.A.Name, host.Labels["nestling.dev/tenant"])
	require.Equal(t, "web", host.Annotations["nestling.dev/name"])
	require.NotContains(t, host.Labels, "nestling.dev/control-plane")
}

func told(t *testing.T, w *World) {
	space := namespace(t, w.A, "told")
	pod := createPod(t, w, w.A, space, `
metadata: {name: web, labels: {app: web}}
spec: {containers: [{name: main, image: IMAGE}]}
`)
	kubectl(t, w, w.A, space, "wait", "--for=condition=Ready", "pod/web", kubectlPatience)
	waitEvent(t, w.A, space, "web", "Scheduled", "Successfully assigned "+space+"/web to ")
	if w.Real {
		waitEvent(t, w.A, space, "web", "Started", "Container started")
	}
	described := kubectl(t, w, w.A, space, "describe", "pod", "web")
	require.Contains(t, described, "Successfully assigned "+space+"/web to ")
	listed := kubectl(t, w, w.A, space, "events", "--for", "pod/web")
	require.Contains(t, listed, "Scheduled")
	host := hostPodOf(t, w, w.A, pod)
	requireTenantsWords(t, w, host, described)
	requireTenantsWords(t, w, host, listed)
	kubectl(t, w, w.A, space, "delete", "pod", "web", "--wait=false")
	kubectl(t, w, w.A, space, "wait", "--for=delete", "pod/web", kubectlPatience)
}
