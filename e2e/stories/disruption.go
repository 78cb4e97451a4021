package stories

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"nestling.dev/nestling/syncer/naming"
)

// disruption is what is done to pods on purpose, and what tenants ask to be spared.
func disruption() []Story {
	return []Story{
		{Name: "evictions on the host and in the tenant spare what a budget keeps", Run: budget},
		{Name: "a budget in shares follows what there is", Run: budgetInShares},
		{Name: "drains of the host and of the tenant obey a budget", Real: true, Alone: true, Run: drains},
	}
}

// guarded is a Deployment with a budget.
func guarded(t *testing.T, w *World, space, budget string, replicas int32) {
	t.Helper()
	_, err := w.A.Client.PolicyV1().PodDisruptionBudgets(space).Create(t.Context(), decode[policyv1.PodDisruptionBudget](t, w, `
metadata: {name: web}
spec: {`+budget+`, selector: {matchLabels: {app: web}}}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = w.A.Client.AppsV1().Deployments(space).Create(t.Context(), decode[appsv1.Deployment](t, w, fmt.Sprintf(`
metadata: {name: web}
spec:
  replicas: %d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: web, image: IMAGE}]}
`, replicas)), metav1.CreateOptions{})
	require.NoError(t, err)
	allowed(t, w, space, 1)
}

// allowed waits until both sides would let so many pods go.
func allowed(t *testing.T, w *World, space string, want int32) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d disruptions allowed on both sides", want), func(ctx context.Context) (bool, string) {
		virtual, err := w.A.Client.PolicyV1().PodDisruptionBudgets(space).Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		host, err := w.Host.PolicyV1().PodDisruptionBudgets(w.HostNamespace).Get(ctx, naming.Host(w.A.Name, space, "web"), metav1.GetOptions{})
		if err != nil {
			return false, "on the host: " + err.Error()
		}
		return virtual.Status.DisruptionsAllowed == want && host.Status.DisruptionsAllowed == want &&
			host.Status.ObservedGeneration == host.Generation, asJSON([]any{virtual.Spec, virtual.Status, host.Spec, host.Status})
	})
}

func evict(ctx context.Context, client kubernetes.Interface, namespace, name string) error {
	return client.PolicyV1().Evictions(namespace).Evict(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}})
}

func budget(t *testing.T, w *World) {
	space := namespace(t, w.A, "budget")
	guarded(t, w, space, "maxUnavailable: 1", 3)
	// None more than one at a time, in either way, while the first has no successor.
	for side, evictAt := range map[string]func(name string) error{
		"tenant": func(name string) error { return evict(t.Context(), w.A.Client, space, name) },
		"host": func(name string) error {
			return evict(t.Context(), w.Host, w.HostNamespace, naming.Host(w.A.Name, space, name))
		},
	} {
		pods := podsOf(t, w.A, space, "app=web")
		require.Len(t, pods, 3)
		succeed := withoutSuccessors(t, w.A, space)
		evicted := oneOfTwo(t, side, pods, evictAt)
		succeed()
		eventually(t, "the evicted pod's successor", func(ctx context.Context) (bool, string) {
			now := podsOf(t, w.A, space, "app=web")
			for _, pod := range now {
				if pod.Name == evicted || !isReady(&pod) {
					return false, pod.Name
				}
			}
			return len(now) == 3, fmt.Sprint(len(now), " pods")
		})
		allowed(t, w, space, 1)
	}
}

// withoutSuccessors lets nobody make pods in a namespace, until succeed is called. An API
// server that meets another eviction half-way tries again half a second later, and by then
// a simulated pod may have been replaced.
func withoutSuccessors(t *testing.T, tenant *Tenant, space string) (succeed func()) {
	t.Helper()
	quotas := tenant.Client.CoreV1().ResourceQuotas(space)
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "no-more"}, Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")}}}
	_, err := quotas.Create(t.Context(), quota, metav1.CreateOptions{})
	require.NoError(t, err)
	probe := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "probe"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "example.org/none:1"}}}}
	eventually(t, "the quota to hold", func(ctx context.Context) (bool, string) {
		_, err := tenant.Client.CoreV1().Pods(space).Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return apierrors.IsForbidden(err), errText(err)
	})
	return func() {
		t.Helper()
		require.NoError(t, quotas.Delete(t.Context(), quota.Name, metav1.DeleteOptions{}))
	}
}

// oneOfTwo asks for two evictions at once, wants one of them, and returns whose.
func oneOfTwo(t *testing.T, side string, pods []corev1.Pod, evictAt func(name string) error) (evicted string) {
	t.Helper()
	errs := make([]error, 2)
	var both sync.WaitGroup
	for i := range errs {
		both.Go(func() { errs[i] = evictAt(pods[i].Name) })
	}
	both.Wait()
	refused := 0
	for i, err := range errs {
		if apierrors.IsTooManyRequests(err) {
			refused++
			continue
		}
		require.NoError(t, err, side)
		evicted = pods[i].Name
	}
	require.Equal(t, 1, refused, "%s: one of two that are evicted at once: %v", side, errs)
	return evicted
}

func budgetInShares(t *testing.T, w *World) {
	space := namespace(t, w.A, "shares")
	guarded(t, w, space, "minAvailable: 60%", 3) // 2
	keeps := func(want int32) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d kept on the host", want), func(ctx context.Context) (bool, string) {
			host, err := w.Host.PolicyV1().PodDisruptionBudgets(w.HostNamespace).Get(ctx, naming.Host(w.A.Name, space, "web"), metav1.GetOptions{})
			return err == nil && host.Spec.MinAvailable.IntVal == want, errText(err)
		})
	}
	keeps(2)
	_, err := w.A.Client.AppsV1().Deployments(space).Patch(t.Context(), "web", types.MergePatchType, []byte(`{"spec":{"replicas":5}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	keeps(3)
	allowed(t, w, space, 2)
	_, err = w.A.Client.PolicyV1().PodDisruptionBudgets(space).Patch(t.Context(), "web", types.MergePatchType, []byte(`{"spec":{"minAvailable":null,"maxUnavailable":"0%"}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	keeps(5)
	allowed(t, w, space, 0)
	require.NoError(t, w.A.Client.PolicyV1().PodDisruptionBudgets(space).Delete(t.Context(), "web", metav1.DeleteOptions{}))
	eventually(t, "the host's to go", func(ctx context.Context) (bool, string) {
		_, err := w.Host.PolicyV1().PodDisruptionBudgets(w.HostNamespace).Get(ctx, naming.Host(w.A.Name, space, "web"), metav1.GetOptions{})
		return apierrors.IsNotFound(err), errText(err)
	})
}

// drainStops has kubectl drain a node, and a budget keep it from its end. It returns what
// kubectl said.
func drainStops(t *testing.T, w *World, who *Tenant, namespace, node string, flags ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := kubectlCommand(ctx, w, who, namespace, append([]string{"drain", node}, flags...)...).CombinedOutput()
	require.Error(t, err, "it can't have drained them all: %s", out)
	require.Contains(t, string(out), "Cannot evict pod as it would violate the pod's disruption budget")
	return string(out)
}

// drains empties the one node of these pods, for the host and then for the tenant. While it
// is cordoned, by whomever, their successors have no place there, so that a drain can go no
// further than the budget.
func drains(t *testing.T, w *World) {
	if w.Kubectl == "" {
		t.Skip("this world has no kubectl")
	}
	space := namespace(t, w.A, "drained")
	guarded(t, w, space, "maxUnavailable: 1", 3)
	node := podsOf(t, w.A, space, "app=web")[0].Spec.NodeName
	host := *w.A
	host.Kubeconfig = w.HostKubeconfig
	for _, by := range []struct {
		who       *Tenant
		namespace string
		selector  string
	}{
		{&host, w.HostNamespace, "app=web,nestling.dev/tenant=" + w.A.Name + ",nestling.dev/namespace=" + space},
		{w.A, space, "app=web"},
	} {
		before := map[types.UID]bool{}
		for _, pod := range podsOf(t, w.A, space, "app=web") {
			before[pod.UID] = true
		}
		t.Cleanup(func() {
			_ = kubectlCommand(context.WithoutCancel(t.Context()), w, by.who, by.namespace, "uncordon", node).Run()
		})
		out := drainStops(t, w, by.who, by.namespace, node, "--timeout=10s", "--disable-eviction=false", "--pod-selector="+by.selector)
		running := 0
		for _, pod := range podsOf(t, w.A, space, "app=web") {
			if before[pod.UID] && pod.DeletionTimestamp == nil {
				running++
			}
		}
		require.Equal(t, 2, running, "of three pods one may be missing: %s", out)
		kubectl(t, w, by.who, by.namespace, "uncordon", node)
		allowed(t, w, space, 1)
	}
}
