package fleet

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/pkg/deploy"
)

// limited is what somebody sees who may do nothing on the host, and then what a Role lets them.
func limited(t *testing.T, s *simulated) {
	ctx := t.Context()
	nobody := s.as(t, "nobody")
	none := func() {
		left, err := s.everythingAsAdmin(ctx, "f", "limited")
		require.NoError(t, err)
		require.Empty(t, left)
	}
	const user = `User "nobody" cannot `
	_, err := nobody.Create(ctx, options("f", "limited"))
	require.ErrorContains(t, err, user)
	none()
	_, err = nobody.Delete(ctx, DeleteOptions{Tenant: "f", Namespace: "limited"})
	require.ErrorContains(t, err, `look for tenant "f" in namespace "limited": configmaps is forbidden: `+user+`list`)
	_, err = nobody.List(ctx, "limited")
	require.ErrorContains(t, err, "list tenants: configmaps is forbidden: "+user)
	_, err = nobody.Describe(ctx, "f", "limited")
	require.ErrorContains(t, err, `forbidden: `+user)
	_, err = nobody.Kubeconfig(ctx, "f", "limited")
	require.ErrorContains(t, err, `read Secret "f-kubeconfig" in namespace "limited": secrets "f-kubeconfig" is forbidden: `+user)
	require.ErrorContains(t, nobody.Pause(ctx, PauseOptions{Tenant: "f", Namespace: "limited"}), `read StatefulSet "f" in namespace "limited": statefulsets.apps "f" is forbidden: `+user)
	require.ErrorContains(t, nobody.Resume(ctx, ResumeOptions{Tenant: "f", Namespace: "limited"}), `forbidden: `+user)

	// One who may make objects, but not grant what the tenant needs, leaves nothing half-made.
	s.grant(t, "maker", "limited", []rbacv1.PolicyRule{{
		APIGroups: []string{"", "apps", "rbac.authorization.k8s.io"}, Verbs: []string{"get", "list", "watch", "create", "patch", "delete"},
		Resources: []string{"configmaps", "services", "serviceaccounts", "secrets", "pods", "statefulsets", "roles", "rolebindings", "persistentvolumeclaims"},
	}})
	o := options("f", "limited")
	o.Deploy.Namespaced, o.NoWait = true, true
	_, err = s.as(t, "maker").Create(ctx, o)
	require.ErrorContains(t, err, `apply Role "f" in namespace "limited": `)
	require.ErrorContains(t, err, `is attempting to grant RBAC permissions not currently held (the tenant's own; nestling manifests lists them)`)
	none()

	// One who holds what the tenant needs as well can.
	s.grant(t, "ci", "limited", append(deploy.Rules("limited", deploy.SyncOptions(&o.Deploy.Config)), rbacv1.PolicyRule{
		APIGroups: []string{"", "apps", "rbac.authorization.k8s.io"}, Verbs: []string{"get", "list", "watch", "create", "patch", "delete"},
		Resources: []string{"configmaps", "services", "serviceaccounts", "secrets", "pods", "statefulsets", "roles", "rolebindings", "persistentvolumeclaims"},
	}))
	_, err = s.as(t, "ci").Create(ctx, o)
	require.NoError(t, err)
	_, err = s.as(t, "ci").Delete(ctx, DeleteOptions{Tenant: "f", Namespace: "limited", Timeout: patience})
	require.NoError(t, err)
	none()

	// One whose rights end at the namespace can do all, but for what is outside.
	s.grant(t, "tenants-admin", "limited", []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}})
	admin := s.as(t, "tenants-admin")
	_, err = admin.Create(ctx, o)
	require.NoError(t, err)
	_, err = admin.Delete(ctx, DeleteOptions{Tenant: "f", Namespace: "limited", Timeout: patience})
	require.NoError(t, err)
	none()
	o.Deploy.Namespaced = false
	_, err = admin.Create(ctx, o)
	require.ErrorContains(t, err, `apply ClusterRole "nestling:limited:f": clusterroles.rbac.authorization.k8s.io "nestling:limited:f" is forbidden`)
	none()
}

// everythingAsAdmin names all that is left of a tenant.
func (s *simulated) everythingAsAdmin(ctx context.Context, tenant, namespace string) ([]string, error) {
	own, workload, err := s.everything(ctx, tenant, namespace)
	var out []string
	for _, one := range append(own, workload...) {
		out = append(out, one.path())
	}
	return out, err
}

// as is the fleet of another user.
func (s *simulated) as(t *testing.T, user string) *Fleet {
	t.Helper()
	config, err := s.simhost.ConfigFor(user)
	require.NoError(t, err)
	f, err := New(config)
	require.NoError(t, err)
	return f
}

func (s *simulated) grant(t *testing.T, user, namespace string, rules []rbacv1.PolicyRule) {
	t.Helper()
	meta := metav1.ObjectMeta{Name: user, Namespace: namespace}
	_, err := s.host.RbacV1().Roles(namespace).Create(t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = s.host.RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{ObjectMeta: meta,
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: user},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	// The authorizer hears of it a moment later.
	require.Eventually(t, func() bool {
		_, err := s.as(t, user).host.CoreV1().ConfigMaps(namespace).List(t.Context(), metav1.ListOptions{Limit: 1})
		return err == nil
	}, patience, 20*time.Millisecond)
}
