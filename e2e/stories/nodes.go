package stories

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

// nodes is what a tenant sees of the host's machines.
func nodes() []Story {
	return []Story{
		{Name: "a tenant's nodes are the host's", Run: mirroredNodes},
		{Name: "a tenant that may not read nodes has those that run its pods", Run: unreadNodes},
		{Name: "labels and taints that a tenant gives to its nodes decide where its pods run", Alone: true, Run: ownNodes},
		{Name: "kubectl drain in a tenant obeys its budgets, and is local to it", Alone: true, Run: virtualDrain},
		{Name: "a node that dies is not ready, and its pods are replaced", Alone: true, Run: deadNode},
	}
}

// nodeFacts is what both sides must agree on.
type nodeFacts struct {
	Labels                map[string]string
	Taints                []corev1.Taint
	Capacity, Allocatable corev1.ResourceList
	Conditions            map[corev1.NodeConditionType]string
	Info                  corev1.NodeSystemInfo
}

// own marks what stories say of a tenant's nodes.
const own = "own.stories.example.com/"

// factsOf all nodes but those that another story forges in the tenant, and without what
// tenants say of theirs.
func factsOf(t *testing.T, client kubernetes.Interface) map[string]nodeFacts {
	t.Helper()
	list, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	out := map[string]nodeFacts{}
	for _, node := range list.Items {
		if node.Annotations["stories.example.com/forged"] != "" {
			continue
		}
		facts := nodeFacts{
			Labels: maps.Clone(node.Labels), Capacity: node.Status.Capacity, Allocatable: node.Status.Allocatable,
			Conditions: map[corev1.NodeConditionType]string{}, Info: node.Status.NodeInfo,
		}
		for _, taint := range node.Spec.Taints {
			if taint.Key != corev1.TaintNodeUnschedulable { // may be of a tenant's own cordon
				facts.Taints = append(facts.Taints, taint)
			}
		}
		maps.DeleteFunc(facts.Labels, func(key, _ string) bool { return strings.HasPrefix(key, own) })
		for _, condition := range node.Status.Conditions {
			facts.Conditions[condition.Type] = fmt.Sprint(condition.Status, condition.Reason, condition.LastTransitionTime.Unix())
		}
		out[node.Name] = facts
	}
	return out
}

func mirroredNodes(t *testing.T, w *World) {
	name := nodeNames(t, w)[0]
	agree := func(what string) {
		t.Helper()
		eventually(t, what, func(context.Context) (bool, string) {
			diff := cmp.Diff(factsOf(t, w.Host), factsOf(t, w.A.Client))
			return diff == "", diff
		})
	}
	agree("the same nodes on both sides")
	// The host's taints are real, and so are its labels.
	const key = "stories.example.com/mirrored"
	host := w.Host.CoreV1().Nodes()
	before := hostNode(t, w, name).Spec.Taints
	taint := func(ctx context.Context, value any, taints []corev1.Taint) {
		t.Helper()
		keys := map[string]any{key: value}
		patch := asJSON(map[string]any{"metadata": map[string]any{"labels": keys, "annotations": keys}, "spec": map[string]any{"taints": taints}})
		_, err := host.Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		require.NoError(t, err)
	}
	taint(t.Context(), "yes", append(slices.Clone(before), corev1.Taint{Key: key, Effect: corev1.TaintEffectPreferNoSchedule}))
	t.Cleanup(func() { taint(context.Background(), nil, before) })
	agree("a new label and a new taint")
	virtual, err := w.A.Client.CoreV1().Nodes().Patch(t.Context(), name, types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"`+key+`":"no","`+own+`label":"1"},"annotations":{"stories.example.com/own":"1"}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	require.NotContains(t, virtual.Annotations, key, "notes of the host's agents are not shown")
	require.Empty(t, virtual.Status.Images, "nor what others run")
	agree("the host's labels as they were")
	kept := getNode(t, w.A, name)
	require.Equal(t, "1", kept.Annotations["stories.example.com/own"], "annotations are the tenant's own")
	require.Equal(t, "1", kept.Labels[own+"label"], "and so are labels that the host has not")
	require.NotContains(t, hostNode(t, w, name).Labels, own+"label")
	require.NotContains(t, getNode(t, w.B, name).Labels, own+"label")
}

// ownNodes is about what a tenant says of its nodes: the host's scheduler does not see it.
func ownNodes(t *testing.T, w *World) {
	space := namespace(t, w.A, "own-nodes")
	all := nodeNames(t, w)
	name := all[len(all)-1]
	nodes := w.A.Client.CoreV1().Nodes()
	patch := func(ctx context.Context, name, patch string) {
		t.Helper()
		_, err := nodes.Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		require.NoError(t, err)
	}
	clean := func(ctx context.Context) {
		for _, name := range all {
			patch(ctx, name, `{"metadata":{"labels":{"`+own+`disk":null}},"spec":{"taints":null}}`) // the host's come back
		}
	}
	t.Cleanup(func() { clean(context.Background()) })
	manifest := func(name, spec string) string {
		return "\nmetadata: {name: " + name + "}\nspec: {terminationGracePeriodSeconds: 1, " + spec + "containers: [{name: main, image: IMAGE}]}\n"
	}
	selecting := "nodeSelector: {" + own + "disk: ssd}, "
	tolerating := "tolerations: [{key: " + own + "taint, operator: Exists, effect: NoExecute, tolerationSeconds: 3600}], "

	// A label chooses. Until a node has it, the host says that none does.
	early := map[string]types.UID{}
	for i := range 10 {
		pod := createPod(t, w, w.A, space, manifest(fmt.Sprintf("early-%d", i), selecting))
		early[pod.Name] = pod.UID
	}
	for pod := range early {
		waitPod(t, w.A, space, pod, "has no node", isUnschedulable)
	}
	patch(t.Context(), name, `{"metadata":{"labels":{"`+own+`disk":"ssd"}}}`)
	chosen := runPod(t, w, w.A, space, manifest("chosen", selecting))
	require.Equal(t, name, chosen.Spec.NodeName)
	for pod, uid := range early {
		placed := waitPod(t, w.A, space, pod, "runs", isReady)
		require.Equal(t, []any{name, uid}, []any{placed.Spec.NodeName, placed.UID}, pod)
	}
	require.Equal(t, "ssd", chosen.Spec.NodeSelector[own+"disk"], "what its author wrote")

	// A taint ends who does not tolerate it, and keeps away who comes later.
	tolerant := runPod(t, w, w.A, space, manifest("tolerant", tolerating+selecting))
	for _, name := range all {
		patch(t.Context(), name, `{"spec":{"taints":[{"key":"`+own+`taint","effect":"NoExecute"}]}}`)
	}
	eventually(t, "the pod that does not tolerate the taint ends", func(ctx context.Context) (bool, string) {
		_, err := w.A.Client.CoreV1().Pods(space).Get(ctx, "chosen", metav1.GetOptions{})
		return apierrors.IsNotFound(err), errText(err)
	})
	late := createPod(t, w, w.A, space, manifest("late", ""))
	waitPod(t, w.A, space, late.Name, "has no node", isUnschedulable)
	require.Equal(t, tolerant.UID, waitPod(t, w.A, space, "tolerant", "is still ready", isReady).UID)
	for _, node := range all {
		require.False(t, slices.ContainsFunc(hostNode(t, w, node).Spec.Taints, func(taint corev1.Taint) bool { return taint.Key == own+"taint" }))
	}
	clean(t.Context())
	waitPod(t, w.A, space, "late", "runs when the taint is gone", isReady)
}

func isUnschedulable(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(condition corev1.PodCondition) bool {
		return condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse && condition.Reason == corev1.PodReasonUnschedulable
	})
}

func unreadNodes(t *testing.T, w *World) {
	if w.Namespaced == nil {
		t.Skip("this world has no tenant without ClusterRole")
	}
	tenant := w.Namespaced
	agree := func(what string) []string {
		t.Helper()
		var nodes []string
		eventually(t, what, func(ctx context.Context) (bool, string) {
			pods, err := w.Host.CoreV1().Pods(w.HostNamespace).List(ctx, metav1.ListOptions{LabelSelector: "nestling.dev/tenant=" + tenant.Name})
			if err != nil {
				return false, err.Error()
			}
			used := map[string]bool{}
			for _, pod := range pods.Items {
				if pod.Spec.NodeName != "" {
					used[pod.Spec.NodeName] = true
				}
			}
			list, err := tenant.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
			if err != nil {
				return false, err.Error()
			}
			nodes = nil
			for _, node := range list.Items {
				nodes = append(nodes, node.Name)
			}
			want := slices.Sorted(maps.Keys(used))
			return slices.Equal(want, nodes), fmt.Sprintf("pods are on %v, nodes are %v", want, nodes)
		})
		return nodes
	}
	space := namespace(t, tenant, "unread")
	pod := runPod(t, w, tenant, space, `
metadata: {name: first}
spec: {containers: [{name: main, image: IMAGE}]}
`)
	require.Contains(t, agree("a node for the pod"), pod.Spec.NodeName)
	node := getNode(t, tenant, pod.Spec.NodeName)
	require.Equal(t, node.Name, node.Labels[corev1.LabelHostname])
	require.Equal(t, corev1.ConditionTrue, node.Status.Conditions[0].Status)
	require.NotZero(t, node.Status.Allocatable.Pods().Value())
	require.Equal(t, "hello", shell(t, tenant, pod, "", "echo hello"), "streams go through the node")
	// A DaemonSet follows to where the tenant's pods are.
	_, err := tenant.Client.AppsV1().DaemonSets(space).Create(t.Context(), decode[appsv1.DaemonSet](t, w, `
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: agent, image: IMAGE}]}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	eventually(t, "a daemon beside the pod", func(ctx context.Context) (bool, string) {
		found, err := tenant.Client.AppsV1().DaemonSets(space).Get(ctx, "agent", metav1.GetOptions{})
		return err == nil && found.Status.NumberAvailable >= 1 && found.Status.NumberAvailable == found.Status.DesiredNumberScheduled, errText(err)
	})
	require.NoError(t, tenant.Client.AppsV1().DaemonSets(space).Delete(t.Context(), "agent", metav1.DeleteOptions{}))
	require.NoError(t, tenant.Client.CoreV1().Pods(space).Delete(t.Context(), "first", metav1.DeleteOptions{}))
	waitNoHostPods(t, w, tenant, space)
	agree("nodes going with their last pod")
}

func virtualDrain(t *testing.T, w *World) {
	if w.Kubectl == "" {
		t.Skip("this world has no kubectl")
	}
	space := namespace(t, w.A, "drained")
	createDeployment(t, w, w.A, space, "web", 2, "")
	_, err := w.A.Client.PolicyV1().PodDisruptionBudgets(space).Create(t.Context(), &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: new(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	before := waitReadyPods(t, w.A, space, "web", 2)
	node := before[0].Spec.NodeName
	t.Cleanup(func() { _ = kubectlCommand(context.Background(), w, w.A, space, "uncordon", node).Run() })
	alone := len(nodeNames(t, w)) == 1
	if alone {
		// Nowhere else may pods go: the budget keeps the second, as on any cluster.
		drainStops(t, w, w.A, space, node, "--ignore-daemonsets", "--pod-selector=app=web", "--timeout=20s")
		eventually(t, "the replacement of the first without a node", func(context.Context) (bool, string) {
			pods := podsOf(t, w.A, space, "app=web")
			waiting := slices.ContainsFunc(pods, func(pod corev1.Pod) bool { return isUnschedulable(&pod) })
			ready := slices.ContainsFunc(pods, func(pod corev1.Pod) bool { return isReady(&pod) })
			return len(pods) == 2 && waiting && ready, asJSON(pods)
		})
	} else {
		require.Contains(t, kubectl(t, w, w.A, space, "drain", node, "--ignore-daemonsets", "--pod-selector=app=web", kubectlPatience), "drained")
	}
	require.True(t, getNode(t, w.A, node).Spec.Unschedulable)
	require.Regexp(t, "Ready,SchedulingDisabled", kubectl(t, w, w.A, space, "get", "node", node))
	require.False(t, hostNode(t, w, node).Spec.Unschedulable)
	require.False(t, getNode(t, w.B, node).Spec.Unschedulable)
	if !alone {
		for _, pod := range waitReadyPods(t, w.A, space, "web", 2) {
			require.NotEqual(t, node, pod.Spec.NodeName, "pod %s", pod.Name)
		}
	}
	kubectl(t, w, w.A, space, "uncordon", node)
	waitReadyPods(t, w.A, space, "web", 2)
	eventually(t, "the node as it was", func(context.Context) (bool, string) {
		now := getNode(t, w.A, node)
		return !now.Spec.Unschedulable && len(now.Spec.Taints) == 0, asJSON(now.Spec)
	})
}

// lateness is how much later than on the host itself a tenant may see the loss of a node.
// The aim is 2 s; a machine that does other things may take more.
const lateness = 15 * time.Second

func deadNode(t *testing.T, w *World) {
	if w.StopNode == nil {
		t.Skip("no node of this world may die")
	}
	space := namespace(t, w.A, "dead-node")
	// They leave a dead node two seconds after the host has noticed, instead of five minutes.
	const tolerations = `
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
`
	onHost := &Tenant{Name: "the host", Client: w.Host}
	createDeployment(t, w, w.A, space, "web", 6, tolerations)
	createDeployment(t, w, onHost, metav1.NamespaceDefault, "dead-node", 6, tolerations)
	t.Cleanup(func() {
		_ = w.Host.AppsV1().Deployments(metav1.NamespaceDefault).Delete(context.Background(), "dead-node", metav1.DeleteOptions{})
	})
	virtual, host := waitReadyPods(t, w.A, space, "web", 6), waitReadyPods(t, onHost, metav1.NamespaceDefault, "dead-node", 6)
	node := commonNode(virtual, host)
	require.NotEmpty(t, node, "a node that runs pods of both")

	began := time.Now()
	require.NoError(t, w.StopNode(t.Context(), node))
	t.Cleanup(func() { _ = w.StartNode(context.Background(), node) })
	lost := func(client kubernetes.Interface) func(context.Context) bool {
		return func(ctx context.Context) bool {
			seen, err := client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
			return err == nil && nodeReady(seen) == corev1.ConditionUnknown &&
				slices.ContainsFunc(seen.Spec.Taints, func(taint corev1.Taint) bool { return taint.Key == corev1.TaintNodeUnreachable })
		}
	}
	replaced := func(client kubernetes.Interface, space, name string) func(context.Context) bool {
		return func(ctx context.Context) bool {
			list, err := client.CoreV1().Pods(space).List(ctx, metav1.ListOptions{LabelSelector: "app=" + name})
			if err != nil {
				return false
			}
			elsewhere := 0
			for i := range list.Items {
				if pod := &list.Items[i]; pod.Spec.NodeName != node && pod.DeletionTimestamp == nil && isReady(pod) {
					elsewhere++
				}
			}
			return elsewhere == 6
		}
	}
	moments := map[string]<-chan time.Duration{
		"lost on the host":       moment(t, began, lost(w.Host)),
		"lost in the tenant":     moment(t, began, lost(w.A.Client)),
		"replaced on the host":   moment(t, began, replaced(w.Host, metav1.NamespaceDefault, "dead-node")),
		"replaced in the tenant": moment(t, began, replaced(w.A.Client, space, "web")),
	}
	took := map[string]time.Duration{}
	for what, at := range moments {
		var ok bool
		took[what], ok = <-at
		require.True(t, ok, "never %s", what)
	}
	w.Report(fmt.Sprintf("A node dies: not ready after %.1f s on the host and %.1f s in the tenant; all its pods replaced after %.1f s (a Deployment of the host's own) and %.1f s (the tenant's)",
		took["lost on the host"].Seconds(), took["lost in the tenant"].Seconds(), took["replaced on the host"].Seconds(), took["replaced in the tenant"].Seconds()))
	require.Less(t, took["lost in the tenant"]-took["lost on the host"], lateness)
	require.Less(t, took["replaced in the tenant"]-took["replaced on the host"], lateness)

	// What was there is on its way out, for as long as nobody can say that it has ended.
	for _, pod := range podsOf(t, w.A, space, "app=web") {
		if pod.Spec.NodeName == node {
			require.NotNil(t, pod.DeletionTimestamp, pod.Name)
			require.NotEqual(t, corev1.ConditionTrue, condition(&pod, corev1.PodReady), pod.Name)
		}
	}
	require.NoError(t, w.StartNode(t.Context(), node))
	eventually(t, "the node back, and nothing left of its pods", func(ctx context.Context) (bool, string) {
		seen := getNode(t, w.A, node)
		left := podsOf(t, w.A, space, "app=web")
		return nodeReady(seen) == corev1.ConditionTrue && len(seen.Spec.Taints) == 0 && len(left) == 6, fmt.Sprintf("%d pods, %s", len(left), asJSON(seen.Spec))
	})
	requireAgreement(t, w, space)
}

// commonNode is one on which both lists have pods.
func commonNode(some, others []corev1.Pod) string {
	for _, pod := range some {
		if slices.ContainsFunc(others, func(other corev1.Pod) bool { return other.Spec.NodeName == pod.Spec.NodeName }) {
			return pod.Spec.NodeName
		}
	}
	return ""
}

func nodeReady(node *corev1.Node) corev1.ConditionStatus {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status
		}
	}
	return ""
}

// moment tells how long after began something came true; it is closed without a word if
// it never did.
func moment(t *testing.T, began time.Time, is func(context.Context) bool) <-chan time.Duration {
	t.Helper()
	out := make(chan time.Duration, 1)
	ctx := t.Context()
	go func() {
		defer close(out)
		_ = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
			if !is(ctx) {
				return false, nil
			}
			out <- time.Since(began)
			return true, nil
		})
	}()
	return out
}
