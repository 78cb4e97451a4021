package explain_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"nestling.dev/nestling/syncer/explain"
	"nestling.dev/nestling/syncer/plan"
	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
	"nestling.dev/nestling/syncer/resources/golden"
)

func settings(change func(*corev1.ConfigMap)) *corev1.ConfigMap {
	out := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "settings", UID: "virtual-1"}, Data: map[string]string{"a": "1"},
	}
	if change != nil {
		change(out)
	}
	return out
}

// hostOf is the translation of an object, as it is on the host.
func hostOf(virtual *corev1.ConfigMap) *corev1.ConfigMap {
	env := golden.Env(&golden.World{})
	out := resource.Stamp(env, "ConfigMap", virtual, &corev1.ConfigMap{ObjectMeta: resource.HostMeta(env, virtual), Data: virtual.Data})
	out.UID, out.CreationTimestamp = "host-1", metav1.NewTime(env.Now.Add(-time.Hour))
	return out
}

func TestWhereAnObjectStands(t *testing.T) {
	t.Parallel()
	now := golden.Env(nil).Now
	refused := explain.Write{At: now, Verb: plan.Create, Refused: "exceeded quota"}
	for name, test := range map[string]struct {
		virtual, host *corev1.ConfigMap
		known         explain.Known
		want          explain.State
		stuck         []string
	}{
		"on the host": {settings(nil), hostOf(settings(nil)), explain.Known{}, explain.Synced, nil},
		"on its way":  {settings(nil), nil, explain.Known{}, explain.Syncing, nil},
		"a change on its way": {
			settings(func(c *corev1.ConfigMap) { c.Data = nil }), hostOf(settings(nil)), explain.Known{}, explain.Syncing, nil,
		},
		"refused": {settings(nil), nil, explain.Known{Host: refused}, explain.Refused, []string{plan.ReasonRejected}},
		"a change that is refused": {
			settings(func(c *corev1.ConfigMap) { c.Data = nil }), hostOf(settings(nil)), explain.Known{Host: refused}, explain.Refused, []string{plan.ReasonRejected},
		},
		"refused once, and taken since": {settings(nil), hostOf(settings(nil)), explain.Known{Host: refused}, explain.Synced, nil},
		"while the host is away":        {settings(nil), nil, explain.Known{Away: now}, explain.Unreachable, []string{"HostUnreachable"}},
		"there while the host is away":  {settings(nil), hostOf(settings(nil)), explain.Known{Away: now}, explain.Synced, []string{"HostUnreachable"}},
		"a name that somebody else has": {
			settings(nil), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, explain.Known{}, explain.Refused, []string{plan.ReasonNameTaken},
		},
		"after a namesake": {
			settings(nil), hostOf(settings(func(c *corev1.ConfigMap) { c.UID = "virtual-0" })), explain.Known{}, explain.Waiting, nil,
		},
		"after a namesake that is held": {
			settings(nil), hostOf(settings(func(c *corev1.ConfigMap) { c.UID = "virtual-0" })), explain.Known{Held: true}, explain.Held, []string{"HostDeletionHeld"},
		},
		"being deleted": {
			settings(func(c *corev1.ConfigMap) {
				c.DeletionTimestamp, c.Finalizers = &metav1.Time{Time: now}, []string{"example.com/mine"}
			}), nil, explain.Known{}, explain.Ending, []string{"Finalizers"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var host resource.Object
			if test.host != nil {
				host = test.host
			}
			got := explain.Of(golden.Env(&golden.World{}), resources.ConfigMaps(true), test.virtual, host, test.known)
			require.Equal(t, test.want, got.State)
			require.NotEmpty(t, got.Message)
			var stuck []string
			for _, on := range got.Stuck {
				stuck = append(stuck, on.Reason)
				require.NotEmpty(t, on.Message)
			}
			require.Equal(t, test.stuck, stuck)
			require.NotEmpty(t, got.Host.Name, "what it would be on the host, too")
			require.Equal(t, got.Host.UID == "host-1", got.Host.Created != nil)
			require.NotEmpty(t, got.Changes)
		})
	}
}

func TestWhatTheHostAnsweredNeedsNoMemory(t *testing.T) {
	t.Parallel()
	env := golden.Env(&golden.World{})
	got := explain.Of(env, resources.ConfigMaps(true), settings(nil), hostOf(settings(nil)), explain.Known{})
	require.Equal(t, &explain.Answer{Taken: true, Write: "create", Time: metav1.NewTime(env.Now.Add(-time.Hour))}, got.Host.Answer)
	got = explain.Of(env, resources.ConfigMaps(true), settings(nil), nil, explain.Known{})
	require.Nil(t, got.Host.Answer)
}

func TestWhatDoesNotGoToTheHost(t *testing.T) {
	t.Parallel()
	env := golden.Env(&golden.World{})
	got := explain.Of(env, resources.ConfigMaps(false), settings(nil), nil, explain.Known{})
	require.Equal(t, explain.Stays, got.State)
	require.Contains(t, got.Message, "those that a synced object refers to")
	require.Nil(t, got.Host)

	got = explain.Of(env, resources.Namespaces(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, nil, explain.Known{})
	require.Equal(t, explain.Stays, got.State)

	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1", Annotations: map[string]string{resource.AnnotationMirror: "true"}}}
	world := &golden.World{HostObjects: []resource.Object{&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1", UID: "host-node"}}}}
	got = explain.Of(golden.Env(world), resources.Nodes(true), node, nil, explain.Known{})
	require.Equal(t, explain.Mirror, got.State)
	require.Equal(t, types.UID("host-node"), got.Host.UID)
	require.Empty(t, got.Changes, "what is hidden of the host's object is not for here")

	node.Annotations = nil
	got = explain.Of(golden.Env(world), resources.Nodes(true), node, nil, explain.Known{})
	require.Equal(t, explain.Stays, got.State)
	require.Nil(t, got.Host)
}

func TestWhatAPodIsStuckOn(t *testing.T) {
	t.Parallel()
	pod := func(change func(*corev1.PodStatus)) *corev1.Pod {
		out := &corev1.Pod{}
		change(&out.Status)
		return out
	}
	waiting := func(reason, message string) func(*corev1.PodStatus) {
		return func(status *corev1.PodStatus) {
			status.ContainerStatuses = []corev1.ContainerStatus{{Name: "web", State: corev1.ContainerState{
				Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message},
			}}}
		}
	}
	for name, test := range map[string]struct {
		pod             *corev1.Pod
		reason, message string
	}{
		"on a node": {pod(func(s *corev1.PodStatus) {
			s.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/3 nodes"}}
		}), "Unschedulable", "0/3 nodes"},
		"on an image":           {pod(waiting("ImagePullBackOff", "not found")), "ImagePullBackOff", "container web: not found"},
		"on nothing: it starts": {pod(waiting("ContainerCreating", "")), "", ""},
		"on nothing: it runs":   {pod(func(s *corev1.PodStatus) { s.Phase = corev1.PodRunning }), "", ""},
		"failed": {pod(func(s *corev1.PodStatus) { s.Phase, s.Reason, s.Message = corev1.PodFailed, "Evicted", "out of disk" }),
			"Evicted", "out of disk"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reason, message := resources.Pods().Pending(test.pod)
			require.Equal(t, test.reason, reason)
			require.Equal(t, test.message, message)
		})
	}
}
