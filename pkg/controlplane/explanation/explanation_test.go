package explanation_test

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/controlplane/apigroup"
	"nestling.dev/nestling/pkg/controlplane/controlplanetest"
	"nestling.dev/nestling/pkg/controlplane/explanation"
	"nestling.dev/nestling/syncer/explain"
)

// said says of every object that it stays, and of every pod that it is refused.
type said struct{}

func (said) Version(gr schema.GroupResource) (string, bool) { return "v1", gr.Resource == "pods" }

func (said) Explain(gvr schema.GroupVersionResource, kind string, object *unstructured.Unstructured) (*explain.Explanation, error) {
	out := explain.Staying(gvr, kind, object, explain.Stays, "it stays")
	if kind == "Pod" {
		out.State, out.Message = explain.Refused, "no"
		out.Stuck = []explain.Stuck{{Reason: "HostRejected", Message: "exceeded quota"}}
		out.Host = &explain.Host{Namespace: "hosts", Name: "host-pod"}
	}
	return &out, nil
}

func TestMain(m *testing.M) { os.Exit(controlplanetest.Main(m)) }

func TestGroup(t *testing.T) {
	var loopback func() *rest.Config
	server := controlplanetest.Start(t, controlplanetest.Options{Configure: func(o *controlplane.APIServerOptions) {
		o.Groups = []apigroup.Group{explanation.Group(explanation.Options{Source: said{}, Loopback: func() *rest.Config { return loopback() }})}
	}})
	loopback = func() *rest.Config { return rest.CopyConfig(server.Config) }
	s := served{config: server.Config, core: kubernetes.NewForConfigOrDie(server.Config)}
	s.fill(t)
	t.Run("objects of namespaces and of none", s.reading)
	t.Run("names that name nothing", s.badNames)
	t.Run("nobody sees through it what they may not read", s.rights)
	t.Run("a workload tells of its pods", s.workload)
	t.Run("a table for people", s.tables)
	t.Run("it can be read and nothing else", s.discovery)
	t.Run("documents", s.documents)
}

type served struct {
	config *rest.Config
	core   kubernetes.Interface
}

func (s served) fill(t *testing.T) {
	for _, name := range []string{"shop", "bank"} {
		_, err := s.core.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "x"}}, AutomountServiceAccountToken: new(false)},
	}
	_, err := s.core.CoreV1().ServiceAccounts("shop").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		require.NoError(t, err)
	}
	_, err = s.core.CoreV1().Pods("shop").Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Labels: template.Labels}, Spec: template.Spec}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = s.core.AppsV1().Deployments("shop").Create(t.Context(), &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: template.Labels}, Template: template,
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
}

// ask reads an explanation as a user; empty: as the test's own, who may do anything.
func (s served) ask(t *testing.T, user, namespace, name string) (*explanation.Explanation, error) {
	t.Helper()
	config := rest.CopyConfig(s.config)
	config.Impersonate.UserName = user
	request := kubernetes.NewForConfigOrDie(config).Discovery().RESTClient().Get().AbsPath("/apis/nestling.dev/v1alpha1")
	if namespace != "" {
		request = request.Suffix("namespaces", namespace, "explanations", name)
	} else {
		request = request.Suffix("clusterexplanations", name)
	}
	answer := request.Do(t.Context())
	if err := answer.Error(); err != nil { // Raw leaves the server's words out
		return nil, err
	}
	content, err := answer.Raw()
	require.NoError(t, err)
	out := &explanation.Explanation{}
	require.NoError(t, json.Unmarshal(content, out))
	return out, nil
}

func (s served) reading(t *testing.T) {
	pod, err := s.ask(t, "", "shop", "pods:web")
	require.NoError(t, err)
	require.Equal(t, "Explanation", pod.Kind)
	require.Equal(t, "nestling.dev/v1alpha1", pod.APIVersion)
	require.Equal(t, "pods:web", pod.ObjectMeta.Name)
	require.Equal(t, "shop", pod.ObjectMeta.Namespace)
	require.Equal(t, explain.Refused, pod.State)
	require.Equal(t, "Pod", pod.Object.Kind)
	require.NotEmpty(t, pod.Object.UID)
	require.Equal(t, "host-pod", pod.Host.Name)

	for name, kind := range map[string]string{
		"namespaces:shop": "Namespace", "clusterroles.rbac.authorization.k8s.io:system:node": "ClusterRole",
	} {
		got, err := s.ask(t, "", "", name)
		require.NoError(t, err)
		require.Equal(t, "ClusterExplanation", got.Kind)
		require.Equal(t, kind, got.Object.Kind)
		require.Equal(t, explain.Stays, got.State)
	}
}

func (s served) badNames(t *testing.T) {
	for name, test := range map[string]struct{ namespace, name, want string }{
		"no kind":                 {"shop", "web", "is not RESOURCE[.GROUP]:NAME"},
		"no name":                 {"shop", "pods:", "is not RESOURCE[.GROUP]:NAME"},
		"a path":                  {"shop", "pods...:web", "is not RESOURCE[.GROUP]:NAME"},
		"a kind of nobody":        {"shop", "unicorns:web", `serves no resource "unicorns"`},
		"a group of nobody":       {"shop", "pods.example.org:web", `serves no resource "pods.example.org"`},
		"a subresource":           {"shop", "pods.status:web", `serves no resource "pods.status"`},
		"of no namespace":         {"shop", "nodes:web", "of no namespace"},
		"of a namespace":          {"", "pods:web", "objects of namespaces"},
		"a name that is no name":  {"shop", "pods:..", "is not RESOURCE[.GROUP]:NAME"},
		"an address in the group": {"shop", "pods.a_b:web", "is not RESOURCE[.GROUP]:NAME"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.ask(t, "", test.namespace, test.name)
			require.True(t, apierrors.IsBadRequest(err), "%v", err)
			require.ErrorContains(t, err, test.want)
		})
	}
	_, err := s.ask(t, "", "shop", "pods:nobody")
	require.True(t, apierrors.IsNotFound(err), "%v", err)
	require.ErrorContains(t, err, `pods "nobody" not found`)
}

func (s served) rights(t *testing.T) {
	_, err := s.core.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "pods"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get"}},
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
	for _, grant := range []struct{ user, namespace, role string }{{"viewer", "shop", "pods"}, {"other", "bank", "pods"}} {
		_, err := s.core.RbacV1().RoleBindings(grant.namespace).Create(t.Context(), &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: grant.user},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: grant.role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: grant.user}},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	got := s.granted(t, "viewer", "shop", "pods:web")
	require.Equal(t, "host-pod", got.Host.Name)
	require.Eventually(t, func() bool {
		_, err = s.ask(t, "other", "bank", "pods:nobody")
		return apierrors.IsNotFound(err)
	}, 10*time.Second, 50*time.Millisecond, "it may read the pods of its own namespace")

	for name, test := range map[string]struct{ user, namespace, name string }{
		"a user of another namespace":     {"other", "shop", "pods:web"},
		"nobody in particular":            {"nobody", "shop", "pods:web"},
		"a viewer of a Secret":            {"viewer", "shop", "secrets:web"},
		"a viewer of what is elsewhere":   {"viewer", "bank", "pods:nobody"},
		"a viewer of what is of no space": {"viewer", "", "nodes:n"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.ask(t, test.user, test.namespace, test.name)
			require.True(t, apierrors.IsForbidden(err), "%v", err)
			require.ErrorContains(t, err, `User "`+test.user+`" cannot get resource`)
		})
	}
	anonymous := rest.AnonymousClientConfig(s.config)
	_, err = kubernetes.NewForConfigOrDie(anonymous).Discovery().RESTClient().Get().
		AbsPath("/apis/nestling.dev/v1alpha1/namespaces/shop/explanations/pods:web").Do(t.Context()).Raw()
	require.True(t, apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err), "%v", err)
}

func (s served) workload(t *testing.T) {
	got, err := s.ask(t, "", "shop", "deployments.apps:web")
	require.NoError(t, err)
	require.Equal(t, explain.Stays, got.State)
	require.Equal(t, 1, got.Pods.Total)
	require.Equal(t, []explain.Pod{{Name: "web", State: explain.Refused, Stuck: explain.Stuck{Reason: "HostRejected", Message: "exceeded quota"}}}, got.Pods.Stuck)

	// Who may read the Deployment alone is told of it alone.
	_, err = s.core.RbacV1().Roles("shop").Create(t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "deployments"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"get"}},
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = s.core.RbacV1().RoleBindings("shop").Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "deployments"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "deployments"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "narrow"}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Nil(t, s.granted(t, "narrow", "shop", "deployments.apps:web").Pods)
}

// granted is what a user is told who was given the right a moment ago.
func (s served) granted(t *testing.T, user, namespace, name string) (got *explanation.Explanation) {
	t.Helper()
	require.Eventually(t, func() (ok bool) {
		var err error
		got, err = s.ask(t, user, namespace, name)
		return err == nil
	}, 10*time.Second, 50*time.Millisecond)
	return got
}

func (s served) get(t *testing.T, path, accept string) []byte {
	t.Helper()
	request := s.core.Discovery().RESTClient().Get().AbsPath(path)
	if accept != "" {
		request = request.SetHeader("Accept", accept)
	}
	content, err := request.DoRaw(t.Context())
	require.NoError(t, err)
	return content
}

func (s served) tables(t *testing.T) {
	var table metav1.Table
	content := s.get(t, "/apis/nestling.dev/v1alpha1/namespaces/shop/explanations/pods:web", "application/json;as=Table;v=v1;g=meta.k8s.io")
	require.NoError(t, json.Unmarshal(content, &table))
	require.Equal(t, "Table", table.Kind)
	require.Equal(t, []any{"pods:web", "Refused", "host-pod", "no; exceeded quota"}, table.Rows[0].Cells)
}

func (s served) discovery(t *testing.T) {
	list, err := s.core.Discovery().ServerResourcesForGroupVersion("nestling.dev/v1alpha1")
	require.NoError(t, err)
	require.Len(t, list.APIResources, 2)
	for _, resource := range list.APIResources {
		require.Equal(t, metav1.Verbs{"get"}, resource.Verbs, resource.Name)
		require.Empty(t, resource.Categories)
		require.Equal(t, resource.Name == "explanations", resource.Namespaced)
	}
	_, err = s.core.Discovery().RESTClient().Get().AbsPath("/apis/nestling.dev/v1alpha1/namespaces/shop/explanations").Do(t.Context()).Raw()
	require.True(t, apierrors.IsNotFound(err), "%v", err)
	_, err = s.core.Discovery().RESTClient().Delete().AbsPath("/apis/nestling.dev/v1alpha1/namespaces/shop/explanations/pods:web").Do(t.Context()).Raw()
	require.True(t, apierrors.IsMethodNotSupported(err), "%v", err)
	_, resources, err := s.core.Discovery().ServerGroupsAndResources()
	require.NoError(t, err)
	require.NotEmpty(t, resources)
}

func (s served) documents(t *testing.T) {
	require.Contains(t, string(s.get(t, "/openapi/v3/apis/nestling.dev/v1alpha1", "")), "dev.nestling.v1alpha1.Explanation")
	require.Contains(t, string(s.get(t, "/openapi/v2", "application/json")), "dev.nestling.v1alpha1.ClusterExplanation")
}
