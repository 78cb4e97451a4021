package stories

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// hostside is what happens to a tenant's objects on the host, by somebody else's hand.
func hostside() []Story {
	return slices.Concat([]Story{
		{Name: "a host pod that is deleted ends its pod, and the ReplicaSet makes another", Run: deletedHostPod},
		{Name: "a finished pod whose host pod is deleted does not run again", Run: finishedPod},
		{Name: "a cordon in the tenant is its own", Alone: true, Run: virtualCordon},
		{Name: "a drained node shows as it would on one cluster", Alone: true, Run: drain},
	}, deletion(), ownership())
}

func createDeployment(t *testing.T, w *World, tenant *Tenant, space, name string, replicas int, more string) {
	t.Helper()
	_, err := tenant.Client.AppsV1().Deployments(space).Create(t.Context(), decode[appsv1.Deployment](t, w, fmt.Sprintf(`
metadata: {name: %[1]s}
spec:
  replicas: %[2]d
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}, annotations: {simulated-node/stops-after: 1s}}
    spec:
      terminationGracePeriodSeconds: 20
      containers: [{name: main, image: IMAGE, command: [sh, -c, "trap 'sleep 1; exit' TERM; sleep 100000 & wait"]}]
%[3]s`, name, replicas, more)), metav1.CreateOptions{})
	require.NoError(t, err)
}

// waitReadyPods waits until exactly so many pods with the label app=name are there and
// ready, and returns them.
func waitReadyPods(t *testing.T, tenant *Tenant, space, name string, count int) []corev1.Pod {
	t.Helper()
	var pods []corev1.Pod
	eventually(t, fmt.Sprintf("%d ready pods of %s", count, name), func(ctx context.Context) (bool, string) {
		list, err := tenant.Client.CoreV1().Pods(space).List(ctx, metav1.ListOptions{LabelSelector: "app=" + name})
		if err != nil {
			return false, err.Error()
		}
		pods = list.Items
		ready := 0
		for i := range pods {
			if pods[i].DeletionTimestamp == nil && isReady(&pods[i]) {
				ready++
			}
		}
		return ready == count && len(pods) == count, fmt.Sprintf("%d pods, %d ready", len(pods), ready)
	})
	return pods
}

func deletedHostPod(t *testing.T, w *World) {
	space := namespace(t, w.A, "by-hand")
	createDeployment(t, w, w.A, space, "web", 1, "")
	before := waitReadyPods(t, w.A, space, "web", 1)[0]
	host := hostPodOf(t, w, w.A, &before)
	seen := watchPods(t, w.A, space)
	require.NoError(t, w.Host.CoreV1().Pods(w.HostNamespace).Delete(t.Context(), host.Name, metav1.DeleteOptions{}))

	// The tenant sees the deletion, with the grace that the host gave.
	require.EqualValues(t, 20, seen.grace(t, before.UID))
	after := waitReadyPods(t, w.A, space, "web", 1)[0]
	require.NotEqual(t, before.UID, after.UID)
	require.NotEqual(t, before.Name, after.Name)
}

func finishedPod(t *testing.T, w *World) {
	space := namespace(t, w.A, "finished")
	pod := createPod(t, w, w.A, space, `
metadata: {name: once, annotations: {simulated-node/runs-for: 0s}}
spec: {restartPolicy: Never, containers: [{name: main, image: IMAGE, command: ["true"]}]}
`)
	ended := waitPod(t, w.A, space, "once", "has ended", hasEnded)
	require.Equal(t, corev1.PodSucceeded, ended.Status.Phase)
	host := hostPodOf(t, w, w.A, ended)
	require.NoError(t, w.Host.CoreV1().Pods(w.HostNamespace).Delete(t.Context(), host.Name, metav1.DeleteOptions{}))
	eventually(t, "the end of the virtual pod", func(ctx context.Context) (bool, string) {
		_, err := w.A.Client.CoreV1().Pods(space).Get(ctx, "once", metav1.GetOptions{})
		return apierrors.IsNotFound(err), errText(err)
	})
	// A namesake is another pod.
	again := runPod(t, w, w.A, space, `
metadata: {name: once}
spec: {containers: [{name: main, image: IMAGE}]}
`)
	require.NotEqual(t, pod.UID, again.UID)
	require.NotEqual(t, host.UID, hostPodOf(t, w, w.A, again).UID)
}

func virtualCordon(t *testing.T, w *World) {
	name := nodeNames(t, w)[0]
	cordon := func(to bool) {
		t.Helper()
		_, err := w.A.Client.CoreV1().Nodes().Patch(context.WithoutCancel(t.Context()), name, types.MergePatchType,
			fmt.Appendf(nil, `{"spec":{"unschedulable":%t}}`, to), metav1.PatchOptions{})
		require.NoError(t, err)
	}
	cordon(true)
	t.Cleanup(func() { cordon(false) })
	// Something that makes the syncer look at the node again.
	_, err := w.Host.CoreV1().Nodes().Patch(t.Context(), name, types.MergePatchType, []byte(`{"metadata":{"labels":{"stories/looked-at":"true"}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	eventually(t, "the host's new label on the node", func(ctx context.Context) (bool, string) {
		node, err := w.A.Client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		return err == nil && node.Labels["stories/looked-at"] == "true", errText(err)
	})
	node, err := w.A.Client.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	require.True(t, node.Spec.Unschedulable, "the cordon stays")
	for _, other := range []*corev1.Node{getNode(t, w.B, name), hostNode(t, w, name)} {
		require.False(t, other.Spec.Unschedulable)
	}
}

func getNode(t *testing.T, tenant *Tenant, name string) *corev1.Node {
	t.Helper()
	node, err := tenant.Client.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	return node
}

func hostNode(t *testing.T, w *World, name string) *corev1.Node {
	t.Helper()
	node, err := w.Host.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	return node
}

// drain cordons a host node and evicts the pods of one namespace from it, by the
// eviction API as `kubectl drain --pod-selector` does.
func drain(t *testing.T, w *World) {
	space := namespace(t, w.A, "drain")
	createDeployment(t, w, w.A, space, "web", 2, "")
	before := waitReadyPods(t, w.A, space, "web", 2)
	node := before[0].Spec.NodeName
	cordon := func(ctx context.Context, to bool) {
		t.Helper()
		_, err := w.Host.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, fmt.Appendf(nil, `{"spec":{"unschedulable":%t}}`, to), metav1.PatchOptions{})
		require.NoError(t, err)
	}
	cordon(t.Context(), true)
	t.Cleanup(func() { cordon(context.Background(), false) })
	for _, tenant := range []*Tenant{w.A, w.B} {
		eventually(t, "the cordoned node in tenant "+tenant.Name, func(ctx context.Context) (bool, string) {
			seen, err := tenant.Client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			// The flag is the tenant's own; the taint is what schedulers obey.
			return slices.ContainsFunc(seen.Spec.Taints, func(taint corev1.Taint) bool {
				return taint.Key == corev1.TaintNodeUnschedulable && taint.Effect == corev1.TaintEffectNoSchedule
			}), asJSON(seen.Spec)
		})
	}
	seen := watchPods(t, w.A, space)
	evicted := map[types.UID]bool{}
	for _, pod := range before {
		if pod.Spec.NodeName == node {
			evicted[pod.UID] = true
			host := hostPodOf(t, w, w.A, &pod)
			require.NoError(t, w.Host.PolicyV1().Evictions(w.HostNamespace).Evict(t.Context(),
				&policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: host.Name, Namespace: host.Namespace}}))
		}
	}
	// As on one cluster: the pods go with their grace, and others take their place, or wait
	// for one where there is no other node.
	for uid := range evicted {
		require.EqualValues(t, 20, seen.grace(t, uid))
	}
	eventually(t, "pods in their place", func(ctx context.Context) (bool, string) {
		list, err := w.A.Client.CoreV1().Pods(space).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		placed := 0
		for i := range list.Items {
			pod := &list.Items[i]
			elsewhere := isReady(pod) && pod.Spec.NodeName != node
			if !evicted[pod.UID] && (elsewhere || condition(pod, corev1.PodScheduled) == corev1.ConditionFalse) {
				placed++
			}
		}
		return placed == 2 && len(list.Items) == 2, asJSON(list.Items)
	})
	if len(nodeNames(t, w)) == 1 {
		waiting := podsOf(t, w.A, space, "app=web")[0]
		event := waitEvent(t, w.A, space, waiting.Name, "FailedScheduling", "were unschedulable")
		requireTenantsWords(t, w, hostPodOf(t, w, w.A, &waiting), event.Message)
	}
	cordon(t.Context(), false)
	for _, pod := range waitReadyPods(t, w.A, space, "web", 2) {
		require.False(t, evicted[pod.UID])
	}
	eventually(t, "the node as it was", func(ctx context.Context) (bool, string) {
		seen, err := w.A.Client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
		return err == nil && len(seen.Spec.Taints) == 0, errText(err)
	})
}
