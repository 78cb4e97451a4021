package hostclient

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

const server = "https://host:6443"

// world is a host in a few words.
type world struct {
	objects []runtime.Object
	// listed rights show in a rules review; asked ones only when asked for one by one.
	listed []rbacv1.PolicyRule
	asked  []rbacv1.PolicyRule
	user   string
	// fails is the answer to reading a resource.
	fails map[string]error
}

func (w world) client() (kubernetes.Interface, *int) {
	asked := 0
	client := fake.NewClientset(w.objects...)
	client.PrependReactor("create", "selfsubjectrulesreviews", func(clienttesting.Action) (bool, runtime.Object, error) {
		review := &authorizationv1.SelfSubjectRulesReview{}
		for _, rule := range w.listed {
			review.Status.ResourceRules = append(review.Status.ResourceRules, authorizationv1.ResourceRule{
				Verbs: rule.Verbs, APIGroups: rule.APIGroups, Resources: rule.Resources, ResourceNames: rule.ResourceNames,
			})
		}
		return true, review, nil
	})
	client.PrependReactor("create", "selfsubjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		asked++ // reactors run under the fake's lock
		review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview).DeepCopy()
		attributes := review.Spec.ResourceAttributes
		for _, right := range rights(w.asked) {
			resource, subresource, _ := strings.Cut(right.Resource, "/")
			if right.Verb == attributes.Verb && right.Group == attributes.Group && resource == attributes.Resource &&
				subresource == attributes.Subresource && right.Name == attributes.Name {
				review.Status.Allowed = true
			}
		}
		return true, review, nil
	})
	client.PrependReactor("create", "selfsubjectreviews", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, &authenticationv1.SelfSubjectReview{Status: authenticationv1.SelfSubjectReviewStatus{UserInfo: authenticationv1.UserInfo{Username: w.user}}}, nil
	})
	for resource, err := range w.fails {
		client.PrependReactor("get", resource, func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, err })
	}
	return client, &asked
}

func required() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "list", "watch", "create", "patch", "delete"}},
		{APIGroups: []string{""}, Resources: []string{"pods/exec"}, Verbs: []string{"get", "create"}},
		{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"get"}, ResourceNames: []string{"tenants"}},
	}
}

func optional() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"get", "list", "watch"}}}
}

// sound is a host with all that team-a needs.
func sound() world {
	return world{
		objects: []runtime.Object{
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "tenants"}},
			&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "tenants", Name: "team-a-anchor", UID: "anchor-uid"}},
			&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "tenants", Name: "team-a"}, Spec: corev1.ServiceSpec{ClusterIP: "10.96.3.4"}},
		},
		listed: required(),
		asked:  optional(),
		user:   "system:serviceaccount:tenants:team-a",
	}
}

func needs() Needs {
	return Needs{
		Tenant: "team-a", Namespace: "tenants", Anchor: "team-a-anchor", Service: "team-a",
		Required: required(), Role: "team-a", ClusterWide: optional(),
	}
}

func TestSoundHost(t *testing.T) {
	t.Parallel()
	client, asked := sound().client()
	found, err := Check(t.Context(), client, server, needs())
	require.NoError(t, err)
	require.Equal(t, "anchor-uid", string(found.Anchor.UID))
	require.Equal(t, "10.96.3.4", found.Service.Spec.ClusterIP)
	require.Empty(t, found.Unreadable())
	require.Equal(t, 3, *asked, "only the cluster-wide rights are asked for one by one")
}

// Manifests of before the tenant had a DNS of its own have no Service for it.
func TestTheServiceForDNSMayBeMissing(t *testing.T) {
	t.Parallel()
	client, _ := sound().client()
	wanted := needs()
	wanted.DNS = "team-a-dns"
	found, err := Check(t.Context(), client, server, wanted)
	require.NoError(t, err)
	require.Nil(t, found.DNS)

	w := sound()
	w.objects = append(w.objects, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "tenants", Name: "team-a-dns"}, Spec: corev1.ServiceSpec{ClusterIP: "10.96.3.5"}})
	client, _ = w.client()
	found, err = Check(t.Context(), client, server, wanted)
	require.NoError(t, err)
	require.Equal(t, "10.96.3.5", found.DNS.Spec.ClusterIP)
}

func TestNoClusterRoleIsNoError(t *testing.T) {
	t.Parallel()
	w := sound()
	w.asked = nil
	client, _ := w.client()
	found, err := Check(t.Context(), client, server, needs())
	require.NoError(t, err)
	require.True(t, found.Unreadable()["nodes"])
	want := []Right{{Verb: "get", Resource: "nodes"}, {Verb: "list", Resource: "nodes"}, {Verb: "watch", Resource: "nodes"}}
	require.Empty(t, cmp.Diff(want, found.Missing))
}

// An authorizer that lists no rules is asked.
func TestRulesThatAreNotListed(t *testing.T) {
	t.Parallel()
	w := sound()
	w.asked = append(w.asked, w.listed...)
	w.listed = nil
	client, _ := w.client()
	_, err := Check(t.Context(), client, server, needs())
	require.NoError(t, err)
}

func TestAdminHasAllRights(t *testing.T) {
	t.Parallel()
	w := sound()
	w.listed = []rbacv1.PolicyRule{{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}}
	client, asked := w.client()
	_, err := Check(t.Context(), client, server, needs())
	require.NoError(t, err)
	require.Equal(t, 3, *asked)
}

func TestWhatIsMissingSaysWhatToDo(t *testing.T) {
	t.Parallel()
	now := metav1.Now()
	for name, test := range map[string]struct {
		change func(*world)
		want   string
	}{
		"one verb": {func(w *world) { w.listed = without(w.listed, "create", "pods") },
			`ServiceAccount "team-a" may not create pods in namespace "tenants": add verb create on resource pods to Role "team-a" (kubectl apply the tenant's manifests again)`},
		"a subresource": {func(w *world) { w.listed = without(w.listed, "create", "pods/exec") },
			`ServiceAccount "team-a" may not create pods/exec in namespace "tenants": add verb create on resource pods/exec to Role "team-a" (kubectl apply the tenant's manifests again)`},
		"the whole Role, for a user": {func(w *world) { w.listed, w.user = nil, "alice" },
			`user "alice" may not get pods, list pods, watch pods, create pods, patch pods and 4 more in namespace "tenants": add verb get on resource pods, verb list on resource pods, verb watch on resource pods, verb create on resource pods, verb patch on resource pods and 4 more to Role "team-a" (kubectl apply the tenant's manifests again)`},
		"the namespace": {func(w *world) { w.objects = nil },
			`namespace "tenants" does not exist: create it (kubectl create namespace tenants) and apply the tenant's manifests`},
		"the anchor": {func(w *world) { w.objects = []runtime.Object{w.objects[0], w.objects[2]} },
			`ConfigMap "team-a-anchor" is missing in namespace "tenants": apply the tenant's manifests again (nestling manifests team-a -n tenants)`},
		"the Service": {func(w *world) { w.objects = w.objects[:2] },
			`Service "team-a" is missing in namespace "tenants": apply the tenant's manifests again (nestling manifests team-a -n tenants)`},
		"a namespace that goes": {func(w *world) {
			w.objects[0].(*corev1.Namespace).DeletionTimestamp, w.objects[0].(*corev1.Namespace).Finalizers = &now, []string{"x"}
		}, `namespace "tenants" is being deleted: wait until it is gone, or choose another`},
		"credentials": {func(w *world) { w.fails = map[string]error{"namespaces": apierrors.NewUnauthorized("no")} },
			`API server https://host:6443 does not accept our credentials: no`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := sound()
			test.change(&w)
			client, _ := w.client()
			_, err := Check(t.Context(), client, server, needs())
			require.EqualError(t, err, test.want)
			var unreachable *UnreachableError
			require.False(t, errors.As(err, &unreachable))
		})
	}
}

func TestUnreachableIsAnErrorOfItsOwn(t *testing.T) {
	t.Parallel()
	for name, cause := range map[string]error{
		"refused":     &url.Error{Op: "Get", URL: "https://host:6443/api", Err: errors.New("connection refused")},
		"overloaded":  apierrors.NewTooManyRequests("later", 1),
		"starting up": apierrors.NewServiceUnavailable("starting"),
		"too slow":    context.DeadlineExceeded,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := sound()
			w.fails = map[string]error{"namespaces": cause}
			client, _ := w.client()
			_, err := Check(t.Context(), client, server, needs())
			var unreachable *UnreachableError
			require.ErrorAs(t, err, &unreachable)
			require.Contains(t, err.Error(), "API server https://host:6443 does not answer: ")
		})
	}
}

func TestKubeconfig(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(path, []byte(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://host:6443"}}]
contexts: [{name: c, context: {cluster: c, user: ""}}]
current-context: c
`), 0o600))
	host, err := New(Options{Kubeconfig: path, Tenant: "team-a"})
	require.NoError(t, err)
	require.Equal(t, server, host.Host)
	require.Contains(t, host.UserAgent, "(tenant team-a)")
	require.Negative(t, host.QPS)

	_, err = New(Options{Kubeconfig: "/nowhere/config"})
	require.EqualError(t, err, "kubeconfig /nowhere/config: stat /nowhere/config: no such file or directory")
}

// without takes one right out of rules.
func without(rules []rbacv1.PolicyRule, verb, resource string) []rbacv1.PolicyRule {
	var out []rbacv1.PolicyRule
	for _, right := range rights(rules) {
		if right.Verb == verb && right.Resource == resource {
			continue
		}
		rule := rbacv1.PolicyRule{Verbs: []string{right.Verb}, APIGroups: []string{right.Group}, Resources: []string{right.Resource}}
		if right.Name != "" {
			rule.ResourceNames = []string{right.Name}
		}
		out = append(out, rule)
	}
	return out
}

func TestAnOptionalRightIsNotMissed(t *testing.T) {
	t.Parallel()
	lacks := needs()
	lacks.Optional = []rbacv1.PolicyRule{{APIGroups: []string{"resource.k8s.io"}, Resources: []string{"resourceclaims"}, Verbs: []string{"list"}}}
	client, _ := sound().client()
	found, err := Check(t.Context(), client, server, lacks)
	require.NoError(t, err)
	require.Equal(t, []Right{{Verb: "list", Group: "resource.k8s.io", Resource: "resourceclaims"}}, found.Missing)
	require.True(t, found.Unreadable()["resourceclaims.resource.k8s.io"])
}
