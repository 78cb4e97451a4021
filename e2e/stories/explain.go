package stories

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/cli"
	"nestling.dev/nestling/pkg/controlplane/explanation"
	"nestling.dev/nestling/syncer/explain"
)

func explanations() []Story {
	return []Story{
		{Name: "what became of an object on the host is explained", Run: explained},
		{Name: "nobody has explained what they may not read", Run: explainedToNobody},
		{Name: "a pod that waits, or that the host refuses, says on what", Run: explainedStuck},
	}
}

// explainCommand is the command as the tenant's user runs it.
func explainCommand(t *testing.T, tenant *Tenant, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = cli.Main(t.Context(), append([]string{"explain", "--kubeconfig", tenant.Kubeconfig}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

// explanationOf is what the command says of an object.
func explanationOf(t *testing.T, tenant *Tenant, namespace, object string) explain.Explanation {
	t.Helper()
	code, stdout, stderr := explainCommand(t, tenant, object, "-n", namespace, "-o", "json")
	require.Zero(t, code, stderr)
	var out explanation.Explanation
	require.NoError(t, json.Unmarshal([]byte(stdout), &out))
	require.Empty(t, stderr)
	return out.Explanation
}

func hostSynced(pod *corev1.Pod) corev1.PodCondition {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == "nestling.dev/HostSynced" {
			return condition
		}
	}
	return corev1.PodCondition{}
}

func explained(t *testing.T, w *World) {
	space := namespace(t, w.A, "explained")
	createConfiguration(t, w, w.A, space, "ConfigMap\nmetadata: {name: settings}\ndata: {COLOR: blue}\n", "Secret\nmetadata: {name: unused}\nstringData: {KEY: hidden-word}\n",
		"Secret\nmetadata: {name: used}\nstringData: {KEY: hidden-word}\n")
	_, err := w.A.Client.CoreV1().Services(space).Create(t.Context(), decode[corev1.Service](t, w, `
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = w.A.Client.CoreV1().PersistentVolumeClaims(space).Create(t.Context(), decode[corev1.PersistentVolumeClaim](t, w, `
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = w.A.Client.AppsV1().Deployments(space).Create(t.Context(), decode[appsv1.Deployment](t, w, `
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: main, image: IMAGE, command: IDLE, envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: used}}]}]
`), metav1.CreateOptions{})
	require.NoError(t, err)
	eventually(t, "the Deployment to run", func(ctx context.Context) (bool, string) {
		found, err := w.A.Client.AppsV1().Deployments(space).Get(ctx, "web", metav1.GetOptions{})
		return err == nil && found.Status.AvailableReplicas == 1, errText(err)
	})
	pod := podsOf(t, w.A, space, "app=web")[0]
	require.Equal(t, corev1.ConditionTrue, hostSynced(&pod).Status)

	var got explain.Explanation
	eventually(t, "the pod to be as it should be", func(context.Context) (bool, string) {
		got = explanationOf(t, w.A, space, "po/"+pod.Name)
		return got.State == explain.Synced, asJSON(got)
	})
	host := hostPodOf(t, w, w.A, &pod)
	require.Empty(t, got.Stuck)
	require.Equal(t, w.HostNamespace+"/"+host.Name, got.Host.Namespace+"/"+got.Host.Name)
	require.Equal(t, host.UID, got.Host.UID)
	require.True(t, got.Host.Answer.Taken)
	require.Equal(t, "Running", got.Status.Phase)
	require.NotNil(t, got.Status.Time)
	changes := map[string]explain.FieldChange{}
	for _, change := range got.Changes {
		changes[change.Field] = change
		require.NotEmpty(t, change.Reason)
		require.NotEqual(t, explain.Unexplained, change.Reason, "%+v", change)
	}
	require.Equal(t, host.Name, changes["metadata.name"].To)
	require.Equal(t, "settings", changes["spec.containers[main].envFrom[0].configMapRef.name"].From)
	require.True(t, changes["spec.containers[main].env"].Hidden, "Services are not everybody's to see")

	service := explanationOf(t, w.A, space, "svc/web")
	require.Equal(t, explain.Synced, service.State, "%s", asJSON(service))
	claim := explanationOf(t, w.A, space, "pvc/data")
	require.NotEmpty(t, claim.Host.UID, "%s", asJSON(claim))
	secret := explanationOf(t, w.A, space, "secret/used")
	require.Equal(t, explain.Synced, secret.State)
	require.NotContains(t, asJSON(secret), "hidden-word")
	deployment := explanationOf(t, w.A, space, "deploy.apps/web")
	require.Equal(t, explain.Stays, deployment.State)
	require.Equal(t, &explain.Pods{Total: 1}, deployment.Pods)
	for object, want := range map[string]explain.State{
		"secrets/unused": explain.Stays, "Namespace/" + space: explain.Stays, "node/" + pod.Spec.NodeName: explain.Mirror,
		"clusterrole/system:node": explain.Stays, "sa/default": explain.Stays, "ConfigMap/settings": explain.Synced,
	} {
		require.Equal(t, want, explanationOf(t, w.A, space, object).State, object)
	}

	code, stdout, _ := explainCommand(t, w.A, "pod/"+pod.Name, "-n", space)
	require.Zero(t, code)
	require.Contains(t, stdout, "On host:   "+w.HostNamespace+"/"+host.Name+" (uid "+string(host.UID))
	t.Log("\n" + stdout)
	code, _, stderr := explainCommand(t, w.A, "pod/nobody", "-n", space)
	require.Equal(t, 1, code)
	require.Equal(t, "nestling: pods \"nobody\" not found\n", stderr)
	code, _, stderr = explainCommand(t, w.A, "unicorn/nobody", "-n", space)
	require.Equal(t, 2, code)
	require.Equal(t, "nestling: KIND/NAME: the tenant serves no \"unicorn\"\n", stderr)
	if w.Kubectl != "" {
		require.Contains(t, kubectl(t, w, w.A, space, "get", "explanation", "pods:"+pod.Name), "Synced")
		kubectl(t, w, w.A, space, "wait", "--for=condition=nestling.dev/HostSynced", "pod/"+pod.Name, kubectlPatience)
		require.NotContains(t, kubectl(t, w, w.A, space, "get", "all"), "explanation")
		require.Contains(t, kubectl(t, w, w.A, space, "api-resources", "--api-group=nestling.dev"), "clusterexplanations")
	}
}

// explainedToNobody is about users of the tenant with the rights of one namespace.
func explainedToNobody(t *testing.T, w *World) {
	mine, theirs := namespace(t, w.A, "mine"), namespace(t, w.A, "theirs")
	for _, space := range []string{mine, theirs} {
		createConfiguration(t, w, w.A, space, "ConfigMap\nmetadata: {name: settings}\n", "Secret\nmetadata: {name: key}\n")
	}
	user := "viewer-of-" + mine
	_, err := w.A.Client.RbacV1().RoleBindings(mine).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "viewer"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	config := rest.CopyConfig(w.A.Config)
	config.Impersonate.UserName = user
	viewer, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	ask := func(ctx context.Context, namespace, name string) error {
		return viewer.Discovery().RESTClient().Get().
			AbsPath("/apis/nestling.dev/v1alpha1/namespaces", namespace, "explanations", name).Do(ctx).Error()
	}
	eventually(t, "the viewer to be told of their own", func(ctx context.Context) (bool, string) {
		err := ask(ctx, mine, "configmaps:settings")
		return err == nil, errText(err)
	})
	for what, err := range map[string]error{
		"what they may not read":       ask(t.Context(), mine, "secrets:key"),
		"of another namespace":         ask(t.Context(), theirs, "configmaps:settings"),
		"whether it is there":          ask(t.Context(), theirs, "configmaps:nobody"),
		"what is of no namespace, too": viewer.Discovery().RESTClient().Get().AbsPath("/apis/nestling.dev/v1alpha1/clusterexplanations/nodes:x").Do(t.Context()).Error(),
	} {
		require.True(t, apierrors.IsForbidden(err), "%s: %v", what, err)
		require.NotContains(t, err.Error(), w.HostNamespace+"/")
	}
}

// refuse has the host refuse objects of a resource that carry a label, in words that name
// all that the policy sees. It returns when that is in force; what it returns lifts it.
func refuse(t *testing.T, w *World, name, resource, label string, probe func(ctx context.Context) error) (lift func()) {
	t.Helper()
	policies := w.Host.AdmissionregistrationV1()
	_, err := policies.ValidatingAdmissionPolicies().Create(t.Context(), &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{
				ObjectSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: label, Operator: metav1.LabelSelectorOpExists}}},
				ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{resource}},
				}}},
			},
			Validations: []admissionregistrationv1.Validation{{
				Expression:        "false",
				MessageExpression: `"no such thing as " + object.metadata.name + " in " + object.metadata.namespace`,
			}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	lifted := false
	lift = func() {
		if lifted {
			return
		}
		lifted = true
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = policies.ValidatingAdmissionPolicyBindings().Delete(ctx, name, metav1.DeleteOptions{})
		_ = policies.ValidatingAdmissionPolicies().Delete(ctx, name, metav1.DeleteOptions{})
	}
	t.Cleanup(lift)
	_, err = policies.ValidatingAdmissionPolicyBindings().Create(t.Context(), &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: name, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	eventually(t, "the policy "+name+" is in force", func(ctx context.Context) (bool, string) { return probe(ctx) != nil, "" })
	return lift
}

// explainedStuck has a pod wait for a ConfigMap that the host refuses, then be refused
// itself, and then run.
func explainedStuck(t *testing.T, w *World) {
	space := namespace(t, w.A, "stuck")
	label := "example.org/" + space
	labels := map[string]string{label: "yes"}
	dryRun := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	takeConfiguration := refuse(t, w, space+"-configuration", "configmaps", label, func(ctx context.Context) error {
		_, err := w.Host.CoreV1().ConfigMaps(w.HostNamespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: space, Labels: labels}}, dryRun)
		return err
	})
	createConfiguration(t, w, w.A, space, fmt.Sprintf("ConfigMap\nmetadata: {name: settings, labels: {%s: \"yes\"}}\n", label))
	manifest := fmt.Sprintf(`
metadata: {name: web, labels: {%s: "yes"}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: IMAGE, command: IDLE, envFrom: [{configMapRef: {name: settings}}]}]
`, label)
	_, err := w.A.Client.CoreV1().Pods(space).Create(t.Context(), decode[corev1.Pod](t, w, manifest), metav1.CreateOptions{})
	require.NoError(t, err)
	stuck := func(object string, state explain.State, reason string, words ...string) explain.Explanation {
		t.Helper()
		var got explain.Explanation
		eventually(t, object+" to be "+string(state), func(context.Context) (bool, string) {
			got = explanationOf(t, w.A, space, object)
			return got.State == state && len(got.Stuck) > 0, asJSON(got)
		})
		require.Equal(t, reason, got.Stuck[0].Reason)
		requireRefusal(t, w, got.Stuck[0].Message, words...)
		return got
	}
	stuck("pod/web", explain.Waiting, "HostSyncWaiting", `ConfigMap "settings" is on its way to the host`)
	configuration := stuck("cm/settings", explain.Refused, "HostRejected", "no such thing as settings in "+space)
	require.False(t, configuration.Host.Answer.Taken)
	requireRefusal(t, w, configuration.Host.Answer.Message, "no such thing as settings")
	says := func(status corev1.ConditionStatus, reason string) corev1.PodCondition {
		t.Helper()
		pod := waitPod(t, w.A, space, "web", "says that it is "+string(status)+", "+reason, func(pod *corev1.Pod) bool {
			condition := hostSynced(pod)
			return condition.Status == status && condition.Reason == reason
		})
		requireRefusal(t, w, hostSynced(pod).Message)
		return hostSynced(pod)
	}
	says(corev1.ConditionFalse, "HostSyncWaiting")

	takePods := refuse(t, w, space+"-pods", "pods", label, func(ctx context.Context) error {
		_, err := w.Host.CoreV1().Pods(w.HostNamespace).Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: space, Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "x", Image: "x"}}},
		}, dryRun)
		return err
	})
	takeConfiguration()
	condition := says(corev1.ConditionFalse, "HostRejected")
	require.Contains(t, condition.Message, "no such thing as web in "+space)
	refused := stuck("pod/web", explain.Refused, "HostRejected", "no such thing as web in "+space)
	require.Nil(t, refused.Host.Created)
	require.NotEmpty(t, refused.Changes, "what it would become is told, too")

	// A controller makes none at all, and its Deployment tells why.
	deployment := fmt.Sprintf(`
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, %s: "yes"}}
    spec: {containers: [{name: main, image: IMAGE, command: IDLE}]}
`, label)
	_, err = w.A.Client.AppsV1().Deployments(space).Create(t.Context(), decode[appsv1.Deployment](t, w, deployment), metav1.CreateOptions{})
	require.NoError(t, err)
	eventually(t, "no pod of deploy/web to come in", func(ctx context.Context) (bool, string) {
		got := explanationOf(t, w.A, space, "deploy/web")
		if len(got.Stuck) > 0 {
			return true, ""
		}
		// A host that takes long is not asked. The pod that takes the place of such a one is asked about.
		err := w.A.Client.CoreV1().Pods(space).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}, metav1.ListOptions{LabelSelector: "app=web"})
		return false, asJSON(got) + errText(err)
	})
	stuck("deploy/web", explain.Stays, "FailedCreate", "no such thing as")

	takePods()
	require.Empty(t, says(corev1.ConditionTrue, "").Message)
	eventually(t, "the pod to be as it should be", func(context.Context) (bool, string) {
		got := explanationOf(t, w.A, space, "pod/web")
		return got.State == explain.Synced && len(got.Stuck) == 0, asJSON(got)
	})
	code, stdout, _ := explainCommand(t, w.A, "pod/web", "-n", space)
	require.Zero(t, code)
	require.True(t, strings.HasPrefix(stdout, "Object:    Pod "+space+"/web\nState:     Synced: "), stdout)
}
