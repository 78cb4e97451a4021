package resource

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/syncer/naming"
)

var env = Env{
	Tenant: "team-a", HostNamespace: "tenants", Identity: "identity-1",
	Owner: metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "team-a-anchor", UID: "anchor-1"},
}

func virtualConfigMap(labels, annotations map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "c", UID: "u", Labels: labels, Annotations: annotations}}
}

func translation(virtual *corev1.ConfigMap) *corev1.ConfigMap {
	return Stamp(env, "ConfigMap", virtual, &corev1.ConfigMap{ObjectMeta: HostMeta(env, virtual)})
}

func TestTenantsCannotSetOurKeys(t *testing.T) {
	t.Parallel()
	keys := map[string]string{"nestling.dev/tenant": "other", "nestling.dev/control-plane": "other", "nestling.dev/identity": "other", "app": "x"}
	host := translation(virtualConfigMap(keys, keys))
	if diff := cmp.Diff(map[string]string{"app": "x", LabelTenant: "team-a", LabelNamespace: "n"}, host.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	require.Equal(t, "identity-1", host.Annotations[AnnotationIdentity])
	require.NotContains(t, host.Annotations, "nestling.dev/control-plane")
}

func TestTheWayBackIsOnTheObject(t *testing.T) {
	t.Parallel()
	virtual := virtualConfigMap(nil, nil)
	host := translation(virtual)
	key, ok := VirtualKey(host)
	require.True(t, ok)
	require.Equal(t, KeyOf(virtual), key)
	require.True(t, IsOurs(env, "ConfigMap", host))
	require.False(t, IsOurs(env, "Secret", host), "another kind's")
	other := env
	other.Identity = "identity-2"
	require.False(t, IsOurs(other, "ConfigMap", host), "another cluster's")
}

func TestCopiedKeysGoAndForeignKeysStay(t *testing.T) {
	t.Parallel()
	live := translation(virtualConfigMap(map[string]string{"a": "1", "b": "1"}, map[string]string{"x": "1"}))
	live.Labels["host"], live.Annotations["host"] = "stays", "stays"
	live.OwnerReferences = append(live.OwnerReferences, metav1.OwnerReference{UID: "other"})
	MergeMeta(translation(virtualConfigMap(map[string]string{"a": "2"}, nil)), live)
	if diff := cmp.Diff(map[string]string{"a": "2", "host": "stays", LabelTenant: "team-a", LabelNamespace: "n"}, live.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	require.Equal(t, "stays", live.Annotations["host"])
	require.NotContains(t, live.Annotations, "x")
	require.Equal(t, "l:a", live.Annotations[AnnotationCopied])
	require.Len(t, live.OwnerReferences, 2)
	again := live.DeepCopy()
	MergeMeta(translation(virtualConfigMap(map[string]string{"a": "2"}, nil)), again)
	if diff := cmp.Diff(live, again); diff != "" {
		t.Errorf("the second merge changed something (-first +second):\n%s", diff)
	}
}

func TestAHostObjectOfAdmissionHasNoUID(t *testing.T) {
	t.Parallel()
	virtual := virtualConfigMap(nil, nil)
	virtual.UID = ""
	require.NotContains(t, translation(virtual).Annotations, AnnotationUID)
}

func TestPlainWordsNameNothingOfTheHost(t *testing.T) {
	t.Parallel()
	name := naming.Host("team-a", "n", "c")
	text := fmt.Sprintf("configmaps %q is forbidden: tenants/%s exceeds a quota in the namespace %q of all tenants", name, name, "tenants")
	require.Equal(t, `configmaps "c" is forbidden: n/c exceeds a quota in the namespace "n" of all tenants`,
		TextAbout(env, virtualConfigMap(nil, nil), nil, text))
}

func TestWhatHasAControllerHasOneOnTheHost(t *testing.T) {
	t.Parallel()
	alone := virtualConfigMap(nil, nil)
	controlled := virtualConfigMap(nil, nil)
	controlled.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "c", UID: "set-1", Controller: new(true)}}
	require.Nil(t, metav1.GetControllerOf(translation(alone)))
	require.Equal(t, env.Owner.UID, metav1.GetControllerOf(translation(controlled)).UID)

	live := translation(alone)
	MergeMeta(translation(controlled), live)
	require.Equal(t, env.Owner.UID, metav1.GetControllerOf(live).UID)
	MergeMeta(translation(alone), live)
	require.Nil(t, metav1.GetControllerOf(live))

	live.OwnerReferences = append(live.OwnerReferences, metav1.OwnerReference{UID: "of-the-host", Controller: new(true)})
	MergeMeta(translation(controlled), live)
	require.EqualValues(t, "of-the-host", metav1.GetControllerOf(live).UID, "there can be one")
}
