package controlplane_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/controlplane/controlplanetest"
)

// Whatever the tenant grants it, the credential that scrapes reads metrics and nothing else.
func TestTheScraperReadsMetricsAndNothingElse(t *testing.T) {
	t.Parallel()
	server := controlplanetest.Start(t, controlplanetest.Options{})
	admin, err := kubernetes.NewForConfig(server.Config)
	require.NoError(t, err)
	_, err = admin.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "scraper-is-admin"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: controlplane.MetricsUser}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)

	own, err := server.API.ClientConfig(controlplane.MetricsUser)
	require.NoError(t, err)
	ask := func(config *rest.Config, method, path string) error {
		client, err := kubernetes.NewForConfig(config)
		require.NoError(t, err)
		return client.RESTClient().Verb(method).AbsPath(path).Do(t.Context()).Error()
	}
	// One that the tenant's administrator acts as, with all groups that there are.
	impersonated := rest.CopyConfig(server.Config)
	impersonated.Impersonate = rest.ImpersonationConfig{UserName: controlplane.MetricsUser, Groups: []string{"system:masters", "system:authenticated"}}
	for _, config := range []*rest.Config{own, impersonated} {
		require.NoError(t, ask(config, http.MethodGet, "/metrics"))
		for _, request := range []struct{ method, path string }{
			{http.MethodPost, "/metrics"}, {http.MethodGet, "/metrics/slis"}, {http.MethodGet, "/metrics/"},
			{http.MethodGet, "/"}, {http.MethodGet, "/api"}, {http.MethodGet, "/apis"}, {http.MethodGet, "/version"},
			{http.MethodGet, "/openapi/v2"}, {http.MethodGet, "/openapi/v3"}, {http.MethodGet, "/healthz"}, {http.MethodGet, "/readyz"},
			{http.MethodGet, "/debug/pprof/heap"}, {http.MethodGet, "/logs"},
			{http.MethodGet, "/.well-known/openid-configuration"}, {http.MethodGet, "/openid/v1/jwks"},
			{http.MethodGet, "/api/v1/namespaces"}, {http.MethodGet, "/api/v1/secrets"}, {http.MethodGet, "/api/v1/nodes/n/proxy/metrics"},
			{http.MethodDelete, "/api/v1/namespaces/default"},
			{http.MethodPost, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"},
		} {
			err := ask(config, request.method, request.path)
			require.True(t, apierrors.IsForbidden(err), "%s %s: %v", request.method, request.path, err)
		}
	}

	review, err := admin.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User:               controlplane.MetricsUser,
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Resource: "secrets"},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.False(t, review.Status.Allowed, "and kubectl auth can-i says so")
}
