package deploy

import (
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
)

// Annotations on the anchor that end a tenant. Its own process obeys them, and nobody else has to live so long.
const (
	// ExpiresAtAnnotation is when the tenant removes itself, as RFC 3339 in UTC.
	ExpiresAtAnnotation = "nestling.dev/expires-at"
	// IdleTTLAnnotation is how long its API may go unused before it does, as a Go duration.
	IdleTTLAnnotation = "nestling.dev/idle-ttl"
	// ExpiredAnnotation is written by the process before it removes anything: from then on there is no way back.
	ExpiredAnnotation = "nestling.dev/expired"
)

// Lifetime is when a tenant ends by itself; the zero value is never.
type Lifetime struct {
	// ExpiresAt is a moment, whatever happens until then.
	ExpiresAt time.Time
	// IdleTTL is how long the API may go unused.
	IdleTTL time.Duration
}

// Limited says that there is an end.
func (l Lifetime) Limited() bool { return !l.ExpiresAt.IsZero() || l.IdleTTL > 0 }

func (l Lifetime) annotate(annotations map[string]string) {
	if !l.ExpiresAt.IsZero() {
		annotations[ExpiresAtAnnotation] = l.ExpiresAt.UTC().Format(time.RFC3339)
	}
	if l.IdleTTL > 0 {
		annotations[IdleTTLAnnotation] = l.IdleTTL.String()
	}
}

// farewell lets a tenant whose life is limited remove the one object that its anchor cannot own, because it is in no
// namespace: its own ClusterRoleBinding, which owns the ClusterRole.
func farewell(o Options) []rbacv1.PolicyRule {
	if !o.Lifetime.Limited() {
		return nil
	}
	return rulesOf([]HostResource{{rbacv1.GroupName, "clusterrolebindings", verbs("delete"), []string{o.names().ClusterRole()}}})
}
