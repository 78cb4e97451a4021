package deploy

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
)

// Only a tenant that has to remove itself may delete anything outside its namespace, and that is its own binding.
func TestALimitedLifeNeedsOneRightMore(t *testing.T) {
	t.Parallel()
	plain, idle, until := example(), example(), example()
	idle.Lifetime.IdleTTL = 10 * time.Minute
	until.Lifetime.ExpiresAt = time.Date(2026, 1, 31, 13, 0, 0, 0, time.FixedZone("", 3600))
	want := rbacv1.PolicyRule{
		APIGroups: []string{"rbac.authorization.k8s.io"}, Resources: []string{"clusterrolebindings"},
		ResourceNames: []string{"nestling:tenants:team-a"}, Verbs: []string{"delete"},
	}
	for name, o := range map[string]Options{"idle": idle, "until": until} {
		rules := clusterRole(o).Rules
		require.Equal(t, want, rules[len(rules)-1], name)
		require.Equal(t, clusterRole(plain).Rules, rules[:len(rules)-1], name)
		require.Equal(t, role(plain).Rules, role(o).Rules, name)
	}
	require.False(t, slices.ContainsFunc(clusterRole(plain).Rules, func(rule rbacv1.PolicyRule) bool { return slices.Contains(rule.Verbs, "delete") }))

	require.Equal(t, "10m0s", anchor(idle).Annotations[IdleTTLAnnotation])
	require.Equal(t, "2026-01-31T12:00:00Z", anchor(until).Annotations[ExpiresAtAnnotation])
	require.Len(t, anchor(plain).Annotations, 1)
}
