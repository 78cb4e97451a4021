package stories

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"

	"nestling.dev/nestling/pkg/controlplane/controlplanetest"
)

func quantities(pairs ...string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		out[corev1.ResourceName(pairs[i])] = apiresource.MustParse(pairs[i+1])
	}
	return out
}

// quota of the host, whose status the test sets, since no controller does. It returns when
// the host counts by it and the plugin knows it: what is let pass before is counted nowhere.
func (w *world) quota(t *testing.T, hard corev1.ResourceList) {
	t.Helper()
	quotas := w.host.CoreV1().ResourceQuotas(hostNamespace)
	_, err := quotas.Create(t.Context(), &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "limits"}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, quotas.Delete(context.Background(), "limits", metav1.DeleteOptions{}))
		// No status counts down here, so that a quota that is used up refuses until the host knows that it is gone.
		controlplanetest.Eventually(t, "the quota is not in force", func(ctx context.Context) (string, error) {
			_, err := w.virtual.CoreV1().Pods(namespace).Create(ctx, pod("any", nil), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if err != nil {
				return err.Error(), nil
			}
			return "", nil
		})
	})
	// Of a quota that nothing is used of, a dry run cannot tell whether the host has it.
	w.setUsed(t, hard, hard)
	controlplanetest.Eventually(t, "the host has the quota", func(ctx context.Context) (string, error) {
		err := w.tryOnHost(ctx)
		if err == nil || !strings.Contains(err.Error(), "exceeded quota: limits") {
			return fmt.Sprintf("it answers %v", err), nil
		}
		return "", nil
	})
	unused := corev1.ResourceList{}
	for name := range hard {
		unused[name] = apiresource.MustParse("0")
	}
	version := w.setUsed(t, hard, unused)
	controlplanetest.Eventually(t, "the host knows that nothing is used", func(ctx context.Context) (string, error) {
		return "", w.tryOnHost(ctx)
	})
	controlplanetest.Eventually(t, "the plugin has the quota", func(context.Context) (string, error) {
		known, exists, err := w.quotas.GetStore().GetByKey(hostNamespace + "/limits")
		if err != nil || !exists {
			return "it has not", err
		}
		return cmp.Diff(version, known.(*corev1.ResourceQuota).ResourceVersion), nil
	})
}

// setUsed writes the status of the quota, and returns the version that it has then.
func (w *world) setUsed(t *testing.T, hard, used corev1.ResourceList) (version string) {
	t.Helper()
	quotas := w.host.CoreV1().ResourceQuotas(hostNamespace)
	require.NoError(t, retry.RetryOnConflict(retry.DefaultRetry, func() error {
		quota, err := quotas.Get(t.Context(), "limits", metav1.GetOptions{})
		if err != nil {
			return err
		}
		quota.Status.Hard, quota.Status.Used = hard, used
		if quota, err = quotas.UpdateStatus(t.Context(), quota, metav1.UpdateOptions{}); err == nil {
			version = quota.ResourceVersion
		}
		return err
	}))
	return version
}

// tryOnHost asks the host itself, by a dry run, whether it would take a pod.
func (w *world) tryOnHost(ctx context.Context) error {
	wanted := pod("any", func(pod *corev1.Pod) { pod.Spec.ServiceAccountName = workloadAccount })
	_, err := w.host.CoreV1().Pods(hostNamespace).Create(ctx, wanted, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

// awaitArrival of a pod's host pod in the syncer's cache, out of which it answers about a
// change: the API has it before.
func (w *world) awaitArrival(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	controlplanetest.Eventually(t, pod.Name+" is on the host", func(context.Context) (string, error) {
		if !w.syncer.Arrived(corev1.Resource("pods"), pod) {
			return "it is not", nil
		}
		return "", nil
	})
}

func TestQuota(t *testing.T) {
	w := shared
	w.quota(t, quantities("pods", "1", "count/networkpolicies.networking.k8s.io", "0"))
	_, err := w.create(t, pod("first", nil))
	require.NoError(t, err)
	w.requireRefused(t, pod("second", nil), 403, `pods "second" is forbidden: exceeded quota: limits, requested: pods=1, used: pods=1, limited: pods=1`)

	_, err = w.virtual.NetworkingV1().NetworkPolicies(namespace).Create(t.Context(), &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}}, metav1.CreateOptions{})
	requireWords(t, err, 403, `exceeded quota: limits`)
}

func TestABurstThatIsTooMuchForAQuota(t *testing.T) {
	w := shared
	const fit, all = 5, 12
	w.quota(t, quantities("pods", fmt.Sprint(fit)))
	var passed atomic.Int64
	start := time.Now()
	var creators sync.WaitGroup
	errs := make(chan error, all)
	for range all {
		creators.Go(func() {
			_, err := w.create(t, pod("", func(pod *corev1.Pod) { pod.GenerateName = "replica-" }))
			if err == nil {
				passed.Add(1)
			} else {
				errs <- err
			}
		})
	}
	creators.Wait()
	t.Logf("%d creates took %s", all, time.Since(start).Round(time.Millisecond))
	close(errs)
	for err := range errs {
		requireWords(t, err, 403, "exceeded quota: limits")
	}
	require.EqualValues(t, fit, passed.Load(), "exactly what fits is let pass")
	controlplanetest.Eventually(t, "all are on the host", func(ctx context.Context) (string, error) {
		pods, err := w.host.CoreV1().Pods(hostNamespace).List(ctx, metav1.ListOptions{})
		if err != nil || len(pods.Items) != fit {
			return fmt.Sprint(len(pods.Items)), err
		}
		return "", nil
	})
	w.requireNoRejection(t)
}

func TestPodSecurity(t *testing.T) {
	w := shared
	label := func(labels string) {
		_, err := w.host.CoreV1().Namespaces().Patch(context.Background(), hostNamespace, types.MergePatchType, []byte(`{"metadata":{"labels":`+labels+`}}`), metav1.PatchOptions{})
		require.NoError(t, err)
	}
	running, err := w.create(t, pod("debugged", nil))
	require.NoError(t, err)
	w.awaitArrival(t, running)

	label(`{"pod-security.kubernetes.io/enforce":"baseline","pod-security.kubernetes.io/warn":"restricted"}`)
	t.Cleanup(func() {
		label(`{"pod-security.kubernetes.io/enforce":null,"pod-security.kubernetes.io/warn":null}`)
	})
	w.requireRefused(t, pod("rude", func(pod *corev1.Pod) { pod.Spec.HostNetwork = true }), 403, `pods "rude" is forbidden: violates PodSecurity "baseline:latest": host namespaces`)

	w.warnings.take()
	// One that is like no other: a verdict of before the labels would serve its siblings.
	_, err = w.create(t, pod("lax", func(pod *corev1.Pod) { pod.Spec.Containers[0].Image = "example.org/lax" }))
	require.NoError(t, err)
	require.Contains(t, strings.Join(w.warnings.take(), "\n"), `would violate PodSecurity "restricted:latest"`)

	running.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		Name: "debug", Image: "example.org/debug", SecurityContext: &corev1.SecurityContext{Privileged: new(true)},
	}}}
	_, err = w.virtual.CoreV1().Pods(namespace).UpdateEphemeralContainers(t.Context(), "debugged", running, metav1.UpdateOptions{})
	requireWords(t, err, 403, `pods "debugged" is forbidden: violates PodSecurity "baseline:latest": privileged`)
}

func TestPolicy(t *testing.T) {
	w := shared
	policies := w.host.AdmissionregistrationV1()
	_, err := policies.ValidatingAdmissionPolicies().Create(t.Context(), &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "images"},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}}}},
			Validations: []admissionv1.Validation{{
				Expression:        `object.spec.containers.all(c, !c.image.startsWith("evil.example/"))`,
				MessageExpression: `"no image of " + object.spec.containers[0].image + " for " + object.metadata.name + " in " + object.metadata.namespace + ", " + object.spec.serviceAccountName`,
			}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = policies.ValidatingAdmissionPolicyBindings().Create(t.Context(), &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "images"},
		Spec:       admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: "images", ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, policies.ValidatingAdmissionPolicyBindings().Delete(context.Background(), "images", metav1.DeleteOptions{}))
		require.NoError(t, policies.ValidatingAdmissionPolicies().Delete(context.Background(), "images", metav1.DeleteOptions{}))
	})
	w.requireRefused(t, pod("evil", func(pod *corev1.Pod) { pod.Spec.Containers[0].Image = "evil.example/x" }), 422,
		`pods "evil" is forbidden: ValidatingAdmissionPolicy 'images' with binding 'images' denied request: no image of evil.example/x for evil in mine, default`)
}

func TestLimitRange(t *testing.T) {
	w := shared
	limits := w.host.CoreV1().LimitRanges(hostNamespace)
	_, err := limits.Create(t.Context(), &corev1.LimitRange{
		ObjectMeta: metav1.ObjectMeta{Name: "range"},
		Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
			Type: corev1.LimitTypeContainer, Max: quantities("cpu", "1"), DefaultRequest: quantities("cpu", "100m"), Default: quantities("cpu", "200m"),
		}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, limits.Delete(context.Background(), "range", metav1.DeleteOptions{})) })
	needy := func(cpu string) func(*corev1.Pod) {
		return func(pod *corev1.Pod) { pod.Spec.Containers[0].Resources.Limits = quantities("cpu", cpu) }
	}
	w.requireRefused(t, pod("greedy", needy("2")), 403, `pods "greedy" is forbidden: maximum cpu usage per Container is 1, but limit is 2`)

	modest, err := w.create(t, pod("modest", nil))
	require.NoError(t, err)
	require.Empty(t, modest.Spec.Containers[0].Resources, "the host's defaults are the host's")
	require.Equal(t, corev1.PodQOSBestEffort, modest.Status.QOSClass)

	growing, err := w.create(t, pod("growing", needy("500m")))
	require.NoError(t, err)
	w.awaitArrival(t, growing)
	_, err = w.virtual.CoreV1().Pods(namespace).Patch(t.Context(), "growing", types.StrategicMergePatchType,
		[]byte(`{"spec":{"containers":[{"name":"main","resources":{"limits":{"cpu":"2"},"requests":{"cpu":"2"}}}]}}`), metav1.PatchOptions{}, "resize")
	requireWords(t, err, 403, `maximum cpu usage per Container is 1, but limit is 2`)
}

func TestWhatIsNotRefused(t *testing.T) {
	w := shared
	_, err := w.create(t, pod("missing", func(pod *corev1.Pod) {
		pod.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "later"}}}}
		pod.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "later"}}}}
	}))
	require.NoError(t, err, "what it refers to may come later")

	taken := hostName("taken")
	_, err = w.host.CoreV1().Pods(hostNamespace).Create(t.Context(), pod(taken, func(pod *corev1.Pod) { pod.Spec.ServiceAccountName = workloadAccount }), metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = w.create(t, pod("taken", nil))
	require.NoError(t, err, "an event tells whose the name is")
	require.NoError(t, w.host.CoreV1().Pods(hostNamespace).Delete(t.Context(), taken, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}))
}

func TestSiblingsShareADryRun(t *testing.T) {
	w := shared
	owner := metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: "00000000-0000-0000-0000-000000000001", Controller: new(true)}
	before := w.trials.n.Load()
	start := time.Now()
	var creators sync.WaitGroup
	for range 40 {
		creators.Go(func() {
			_, err := w.create(t, pod("", func(pod *corev1.Pod) {
				pod.GenerateName, pod.OwnerReferences = "web-", []metav1.OwnerReference{owner}
			}))
			if err != nil {
				t.Errorf("create: %v", err)
			}
		})
	}
	creators.Wait()
	asked := w.trials.n.Load() - before
	t.Logf("40 siblings, %d dry runs, %s", asked, time.Since(start).Round(time.Millisecond))
	require.LessOrEqual(t, asked, int64(1+time.Since(start)/(5*time.Second)))
}
