package stories

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func preflight() []Story {
	return []Story{
		{Name: "what a policy of the host refuses is refused at once, in its words", Run: hostPolicy},
		{Name: "a quota of the host holds for a controller as on one cluster", Alone: true, Run: hostQuota},
	}
}

// hostPolicy refuses pods with a label that nobody else's have. Its message names all that
// the policy sees of the host pod.
func hostPolicy(t *testing.T, w *World) {
	space := namespace(t, w.A, "policy")
	const label = "example.org/refused-by-policy"
	policy := "refuse-" + space
	policies := w.Host.AdmissionregistrationV1()
	_, err := policies.ValidatingAdmissionPolicies().Create(t.Context(), &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: policy},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{
				ObjectSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: label, Operator: metav1.LabelSelectorOpExists}}},
				ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
				}}},
			},
			Validations: []admissionregistrationv1.Validation{{
				Expression:        "false",
				MessageExpression: `"the platform takes no such pod as " + object.metadata.name + " in " + object.metadata.namespace + " of " + object.spec.serviceAccountName + ", asks " + request.userInfo.username`,
			}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = policies.ValidatingAdmissionPolicyBindings().Create(t.Context(), &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: policy},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: policy, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, errors.Join(
			policies.ValidatingAdmissionPolicyBindings().Delete(ctx, policy, metav1.DeleteOptions{}),
			policies.ValidatingAdmissionPolicies().Delete(ctx, policy, metav1.DeleteOptions{}),
		))
	})

	manifest := fmt.Sprintf(`
metadata: {name: refused, labels: {%s: "yes"}}
spec: {containers: [{name: main, image: IMAGE, command: IDLE}]}
`, label)
	try := func(ctx context.Context, dryRun ...string) error {
		_, err := w.A.Client.CoreV1().Pods(space).Create(ctx, decode[corev1.Pod](t, w, manifest), metav1.CreateOptions{DryRun: dryRun})
		return err
	}
	eventually(t, "the policy is in force", func(ctx context.Context) (bool, string) {
		err := try(ctx, metav1.DryRunAll)
		return err != nil && strings.Contains(err.Error(), "the platform takes no such pod"), errText(err)
	})
	// How long at once is depends on what else the machine does, so the host's own answer is told beside it.
	start := time.Now()
	_, err = w.Host.CoreV1().Pods(w.HostNamespace).Create(t.Context(), decode[corev1.Pod](t, w, manifest), metav1.CreateOptions{})
	onHost := time.Since(start)
	require.ErrorContains(t, err, "the platform takes no such pod")
	start = time.Now()
	err = refusal(t, w, w.A, space, "refused", "the platform takes no such pod", func(ctx context.Context) error { return try(ctx) })
	took := time.Since(start)
	require.True(t, apierrors.IsInvalid(err), "%v", err)
	w.Report(fmt.Sprintf("a pod that a policy of the host refuses: refused after %s, %.1f times as long as the host itself takes", took.Round(time.Millisecond), took.Seconds()/onHost.Seconds()))
	requireRefusal(t, w, err.Error(), `pods "refused" is forbidden: `, "the platform takes no such pod as refused in "+space)
	if w.Kubectl != "" {
		err = refusal(t, w, w.A, space, "refused", "the platform takes no such pod", func(ctx context.Context) error {
			out, err := kubectlCommand(ctx, w, w.A, space, "run", "refused", "--image", w.Image, "--labels", label+"=yes").CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
		requireRefusal(t, w, err.Error(), "the platform takes no such pod as refused in "+space)
	}

	// A controller is refused as on one cluster, and says so.
	set := fmt.Sprintf(`
metadata: {generateName: replicas-}
spec:
  replicas: 3
  selector: {matchLabels: {app: replicas}}
  template:
    metadata: {labels: {app: replicas, %s: "yes"}}
    spec: {containers: [{name: main, image: IMAGE, command: IDLE}]}
`, label)
	sets := w.A.Client.AppsV1().ReplicaSets(space)
	eventually(t, "a controller of whose pods nothing is left Pending", func(ctx context.Context) (bool, string) {
		made, err := sets.Create(ctx, decode[appsv1.ReplicaSet](t, w, set), metav1.CreateOptions{})
		require.NoError(t, err)
		event, pods := refusalOrPods(t, w.A, space, made.Name)
		if len(pods) == 0 {
			requireRefusal(t, w, event, "in "+space)
			return true, ""
		}
		// The host took too long to be asked. The next one is another, with events of its own.
		require.NoError(t, sets.Delete(ctx, made.Name, metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)}))
		waitPodsGone(t, w.A, space)
		return false, asJSON(pods)
	})
}

// refusal makes a pod until it is refused in these words. A host that takes long is not
// asked, nor is one whose rule is new sure to know it: a pod that came in by that is
// removed, on both sides.
func refusal(t *testing.T, w *World, tenant *Tenant, namespace, name, words string, create func(context.Context) error) (refused error) {
	t.Helper()
	eventually(t, "the host's word about "+name, func(ctx context.Context) (bool, string) {
		if refused = create(ctx); refused == nil {
			_ = tenant.Client.CoreV1().Pods(namespace).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))})
			waitNoHostPods(t, w, tenant, namespace)
		}
		return refused != nil && strings.Contains(refused.Error(), words), errText(refused)
	})
	return refused
}

// refusalOrPods waits until a ReplicaSet has been refused, or has pods: the event's message,
// and the pods that are there then.
func refusalOrPods(t *testing.T, tenant *Tenant, namespace, name string) (message string, pods []corev1.Pod) {
	t.Helper()
	eventually(t, "what becomes of pods of "+name, func(ctx context.Context) (bool, string) {
		events, err := tenant.Client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name})
		if err != nil {
			return false, err.Error()
		}
		for _, event := range events.Items {
			if event.Reason == "FailedCreate" && strings.Contains(event.Message, "the platform takes no such pod") {
				message = event.Message
			}
		}
		list, err := tenant.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		pods = list.Items
		return message != "" || len(pods) > 0, asJSON(events.Items)
	})
	return message, pods
}

// requireRefusal wants words in a text, and no name of the host's.
func requireRefusal(t *testing.T, w *World, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		require.Contains(t, text, word)
	}
	for _, secret := range []string{w.HostNamespace, w.A.Name + "-workload", "system:serviceaccount:" + w.HostNamespace} {
		require.NotContains(t, text, secret)
	}
}

// hostQuota is about pods with a deadline, which no other story has at this time. A Job
// wants twice as many at once as fit: some wait for those before them, and none is let
// into the tenant that the host would not take. The first run long enough to be there
// still when the host is asked about one too many.
func hostQuota(t *testing.T, w *World) {
	space := namespace(t, w.A, "quota")
	const fit, all = 3, 6
	quotas := w.Host.CoreV1().ResourceQuotas(w.HostNamespace)
	_, err := quotas.Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "deadlines"},
		Spec: corev1.ResourceQuotaSpec{
			Hard:   corev1.ResourceList{corev1.ResourcePods: resource.MustParse(fmt.Sprint(fit))},
			Scopes: []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeTerminating},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, quotas.Delete(ctx, "deadlines", metav1.DeleteOptions{}))
	})
	eventually(t, "the quota counts", func(ctx context.Context) (bool, string) {
		quota, err := quotas.Get(ctx, "deadlines", metav1.GetOptions{})
		return err == nil && len(quota.Status.Hard) > 0, errText(err)
	})
	_, err = w.A.Client.BatchV1().Jobs(space).Create(t.Context(), decode[batchv1.Job](t, w, fmt.Sprintf(`
metadata: {name: work}
spec:
  parallelism: %[1]d
  completions: %[1]d
  template:
    metadata: {annotations: {simulated-node/runs-for: 20s}}
    spec:
      activeDeadlineSeconds: 600
      restartPolicy: Never
      containers: [{name: main, image: IMAGE, command: [sleep, "20"]}]
`, all)), metav1.CreateOptions{})
	require.NoError(t, err)
	event := waitEvent(t, w.A, space, "work", "FailedCreate", "exceeded quota: deadlines")
	requireRefusal(t, w, event.Message, "is forbidden")
	eventually(t, "all of the Job", func(ctx context.Context) (bool, string) {
		job, err := w.A.Client.BatchV1().Jobs(space).Get(ctx, "work", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return job.Status.Succeeded == all, fmt.Sprintf("%+v", job.Status)
	})
	events, err := w.A.Client.CoreV1().Events(space).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	late := slices.DeleteFunc(events.Items, func(event corev1.Event) bool {
		return event.Reason != "HostRejected" || !strings.Contains(event.Message, "quota")
	})
	require.Empty(t, late, "each pod that the tenant has was taken by the host")
}
