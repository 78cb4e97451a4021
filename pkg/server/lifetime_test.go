package server

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"

	"nestling.dev/nestling/pkg/deploy"
)

func TestLifetimeOfAnnotations(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		expiresAt, idle string
		want            deploy.Lifetime
		wrong           string
	}{
		"none":                     {},
		"a moment":                 {expiresAt: "2026-01-31T12:00:00Z", want: deploy.Lifetime{ExpiresAt: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)}},
		"a moment of another zone": {expiresAt: "2026-01-31T14:00:00+02:00", want: deploy.Lifetime{ExpiresAt: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)}},
		"idle":                     {idle: "10m", want: deploy.Lifetime{IdleTTL: 10 * time.Minute}},
		"a moment that is none":    {expiresAt: "tomorrow", wrong: `nestling.dev/expires-at: "tomorrow" is not a time`},
		"a date":                   {expiresAt: "2026-01-31", wrong: `is not a time`},
		"an idle time below 0":     {idle: "-5m", wrong: `nestling.dev/idle-ttl: "-5m" is not a duration of a second or more`},
		"an idle time without unit, beside a good moment": {
			expiresAt: "2026-01-31T12:00:00Z", idle: "10", wrong: `"10" is not a duration`,
			want: deploy.Lifetime{ExpiresAt: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)},
		},
	} {
		got, err := lifetimeOf(map[string]string{deploy.ExpiresAtAnnotation: test.expiresAt, deploy.IdleTTLAnnotation: test.idle})
		require.True(t, test.want.ExpiresAt.Equal(got.ExpiresAt), name)
		require.Equal(t, test.want.IdleTTL, got.IdleTTL, name)
		if test.wrong == "" {
			require.NoError(t, err, name)
		} else {
			require.ErrorContains(t, err, test.wrong, name)
		}
	}
}

// mortal is a tenant that ends at noon, and whatever a case makes of it.
type mortal struct {
	anchor   *corev1.ConfigMap
	service  *corev1.Service
	lifetime *lifetime
	clock    *clocktesting.FakeClock
	host     *fake.Clientset
	used     time.Time
	hostTime time.Time
}

func newMortal() *mortal {
	noon := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	m := &mortal{
		anchor: &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "tenants", Name: "a-anchor", UID: "u", Annotations: map[string]string{
			deploy.ExpiresAtAnnotation: noon.Format(time.RFC3339),
		}}},
		service: &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "tenants", Name: "a", OwnerReferences: []metav1.OwnerReference{{UID: "u"}}}},
		clock:   clocktesting.NewFakeClock(noon.Add(-time.Hour)), used: noon.Add(-time.Hour),
	}
	m.lifetime = &lifetime{
		names: deploy.Names{Tenant: "a", Namespace: "tenants"}, service: "a", anchor: "u", clock: m.clock,
		used: func() time.Time { return m.used },
		hostNow: func(context.Context) (time.Time, error) {
			if m.hostTime.IsZero() {
				return m.clock.Now(), nil
			}
			return m.hostTime, nil
		},
		withdraw: func(context.Context) error { return nil },
	}
	return m
}

// deletions runs one step, and returns what it deleted.
func (m *mortal) deletions(t *testing.T, arrange func(*fake.Clientset)) (deleted []string, next time.Duration) {
	t.Helper()
	m.host = fake.NewClientset(m.anchor, m.service, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "nestling:tenants:a"}})
	if arrange != nil {
		arrange(m.host)
	}
	m.lifetime.host = m.host
	next = m.lifetime.step(t.Context(), m.anchor)
	for _, action := range m.host.Actions() {
		if remove, ok := action.(clienttesting.DeleteAction); ok {
			deleted = append(deleted, remove.GetResource().Resource+"/"+remove.GetName())
			if preconditions := remove.GetDeleteOptions().Preconditions; remove.GetResource().Resource == "configmaps" {
				require.Equal(t, "u", string(*preconditions.UID))
			}
		}
	}
	return deleted, next
}

func TestLifetime(t *testing.T) {
	t.Parallel()
	everything := []string{"clusterrolebindings/nestling:tenants:a", "configmaps/a-anchor"}
	refuse := func(verb, resource string, err error) func(*fake.Clientset) {
		return func(host *fake.Clientset) {
			host.PrependReactor(verb, resource, func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, err })
		}
	}
	for name, test := range map[string]struct {
		after   time.Duration // since an hour before its end
		change  func(*mortal)
		arrange func(*fake.Clientset)
		want    []string
		next    time.Duration
	}{
		"before its time":             {after: 30 * time.Minute, next: lifetimeInterval},
		"just before its time":        {after: time.Hour - 3*time.Second, next: 3 * time.Second},
		"when its time has come":      {after: time.Hour, want: everything, next: lifetimeInterval},
		"paused past its time":        {after: 50 * time.Hour, want: everything, next: lifetimeInterval},
		"without a limit":             {after: 50 * time.Hour, change: func(m *mortal) { m.anchor.Annotations = nil }, next: lifetimeInterval},
		"a limit that cannot be read": {after: 50 * time.Hour, change: func(m *mortal) { m.anchor.Annotations[deploy.ExpiresAtAnnotation] = "noon" }, next: lifetimeInterval},
		"this node's clock is ahead":  {after: time.Hour, change: func(m *mortal) { m.hostTime = m.clock.Now().Add(-20 * time.Second) }, next: 20 * time.Second},
		"the host is away": {after: time.Hour, change: func(m *mortal) {
			m.lifetime.hostNow = func(context.Context) (time.Time, error) { return time.Time{}, errors.New("away") }
		}, next: removalInterval},
		"another anchor of the name":       {after: time.Hour, change: func(m *mortal) { m.anchor.UID = "other" }, next: lifetimeInterval},
		"an anchor that does not own it":   {after: time.Hour, change: func(m *mortal) { m.service.OwnerReferences = nil }, next: lifetimeInterval},
		"renewed at the last moment":       {after: time.Hour, arrange: refuse("patch", "configmaps", apierrors.NewConflict(corev1.Resource("configmaps"), "a-anchor", nil)), next: removalInterval},
		"no right to what is cluster-wide": {after: time.Hour, arrange: refuse("delete", "clusterrolebindings", apierrors.NewForbidden(rbacv1.Resource("clusterrolebindings"), "x", nil)), want: everything, next: lifetimeInterval},
		"a host that fails in the middle":  {after: time.Hour, arrange: refuse("delete", "clusterrolebindings", apierrors.NewInternalError(errors.New("x"))), want: everything[:1], next: removalInterval},
		"a decision of an earlier start's": {after: 0, change: func(m *mortal) { m.anchor.Annotations[deploy.ExpiredAnnotation] = "then" }, want: everything, next: lifetimeInterval},
		"unused for too long":              {after: 11 * time.Minute, change: func(m *mortal) { m.anchor.Annotations[deploy.IdleTTLAnnotation] = "10m" }, want: everything, next: lifetimeInterval},
		"used a moment ago": {after: 11 * time.Minute, change: func(m *mortal) {
			m.anchor.Annotations[deploy.IdleTTLAnnotation] = "10m"
			m.used = m.clock.Now().Add(10*time.Minute + 30*time.Second)
		}, next: lifetimeInterval},
		"a bad limit beside a good one": {after: 11 * time.Minute, change: func(m *mortal) {
			m.anchor.Annotations[deploy.IdleTTLAnnotation] = "10m"
			m.anchor.Annotations[deploy.ExpiresAtAnnotation] = "x"
		}, want: everything, next: lifetimeInterval},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMortal()
			if test.change != nil {
				m.change(test.after, test.change)
			} else {
				m.clock.Step(test.after)
			}
			deleted, next := m.deletions(t, test.arrange)
			require.True(t, slices.Equal(test.want, deleted), "%v", deleted)
			require.Equal(t, test.next, next)
		})
	}
}

// change happens an hour before the end, but sees the clock of the host as it will be.
func (m *mortal) change(after time.Duration, change func(*mortal)) {
	change(m)
	m.clock.Step(after)
	if !m.hostTime.IsZero() {
		m.hostTime = m.hostTime.Add(after)
	}
}
