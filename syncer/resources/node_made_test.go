package resources

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/syncer/plan"
	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources/golden"
)

// Without the right to read nodes, a tenant sees those that run its pods.
func TestANodeIsThereWhileItRunsPods(t *testing.T) {
	t.Parallel()
	kind := Nodes(false)
	began := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	pod := func(name, node string, age time.Duration) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "tenants", Name: name, CreationTimestamp: metav1.Time{Time: began.Add(age)}},
			Spec:       corev1.PodSpec{NodeName: node},
			Status:     corev1.PodStatus{HostIPs: []corev1.HostIP{{IP: "192.0.2.1"}}},
		}
	}
	require.Equal(t, []string{"node-1"}, kind.Sources["pods"](pod("a", "node-1", 0)))
	require.Empty(t, kind.Sources["pods"](pod("a", "", 0)))

	world := &golden.World{HostObjects: []resource.Object{pod("b", "node-1", time.Minute), pod("a", "node-1", 0), pod("c", "", 0)}}
	decide := func() plan.Plan {
		return plan.Decide(golden.Env(world), kind, world.Virtual("nodes", resource.Key{Name: "node-1"}), kind.Make(golden.Env(world), "node-1"))
	}
	got := decide()
	require.Equal(t, "create virtual node-1: mirror of a new host object\n", got.String())
	node := got.Actions[0].Want.(*corev1.Node)
	require.Equal(t, "node-1", node.Labels[corev1.LabelHostname])
	require.Equal(t, corev1.ConditionTrue, node.Status.Conditions[0].Status)
	require.Equal(t, began, node.Status.Conditions[0].LastTransitionTime.Time)
	require.Equal(t, "192.0.2.1", node.Status.Addresses[0].Address)
	require.NoError(t, world.Carry(kind, got))
	require.True(t, decide().Empty(), "nothing is left to do")

	world.HostObjects = world.HostObjects[:1] // the pod that was first has gone
	require.True(t, decide().Empty(), "a node at rest is not written")

	world.HostObjects = nil
	got = decide()
	require.Equal(t, "delete virtual node-1: host object is gone\n", got.String())
	require.NoError(t, world.Carry(kind, got))
	require.True(t, decide().Empty())
}
