package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/syncer/plan"
	"nestling.dev/nestling/syncer/resource"
)

func TestWhatAWriteAnswers(t *testing.T) {
	t.Parallel()
	key := resource.Key{Namespace: "a", Name: "b"}
	start := time.Now()
	at := func(second int) time.Time { return start.Add(time.Duration(second) * time.Second) }
	for name, test := range map[string]struct {
		happens func(p *pending)
		side    plan.Side
		verb    plan.Verb
		want    due
		remains bool
	}{
		"nothing that was seen": {func(*pending) {}, plan.Host, plan.Patch, due{}, false},
		"the first of two virtual changes": {
			func(p *pending) { p.Virtual(key, at(1)); p.Virtual(key, at(2)) }, plan.Host, plan.Patch, due{since: at(1)}, false},
		"a status of the host's": {
			func(p *pending) { p.Host(key, false, false, at(1)) }, plan.Virtual, plan.Patch, due{since: at(1)}, false},
		"a change on the host of another cause": {
			func(p *pending) { p.Host(key, false, false, at(1)) }, plan.Host, plan.Patch, due{}, true},
		"an edit of the host object": {
			func(p *pending) { p.Host(key, true, false, at(1)) }, plan.Host, plan.Patch, due{drift: true}, true},
		"a virtual change, though the host object was edited too": {
			func(p *pending) { p.Host(key, true, false, at(1)); p.Virtual(key, at(2)) }, plan.Host, plan.Patch, due{since: at(2)}, true},
		"a second write after an edit": {
			func(p *pending) { p.Host(key, true, false, at(1)); p.Answer(key, plan.Host, plan.Patch, at(1)) }, plan.Host, plan.Patch, due{}, true},
		"a deletion of the host object": {
			func(p *pending) { p.Host(key, false, true, at(1)) }, plan.Host, plan.Create, due{drift: true}, true},
		"a deletion of our own, to make it anew": {
			func(p *pending) {
				p.Virtual(key, at(1))
				p.Answer(key, plan.Host, plan.Delete, at(1))
				p.Settle(key, at(2))
				p.Host(key, false, true, at(3))
			}, plan.Host, plan.Create, due{}, true},
		"nothing, after an attempt that found all well": {
			func(p *pending) { p.Virtual(key, at(1)); p.Host(key, true, false, at(1)); p.Settle(key, at(1)) }, plan.Host, plan.Patch, due{}, false},
		"what came while the last write was on its way": {
			func(p *pending) {
				p.Virtual(key, at(1))
				p.Virtual(key, at(3))
				p.Answer(key, plan.Host, plan.Patch, at(2))
			}, plan.Host, plan.Delete, due{since: at(3)}, true},
		"what the host said while the last write was on its way": {
			func(p *pending) {
				p.Host(key, false, false, at(1))
				p.Host(key, false, false, at(3))
				p.Answer(key, plan.Virtual, plan.Patch, at(2))
			}, plan.Virtual, plan.Patch, due{since: at(3)}, false},
		"what came during the last attempt": {
			func(p *pending) { p.Virtual(key, at(2)); p.Settle(key, at(1)) }, plan.Host, plan.Create, due{since: at(2)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &pending{}
			test.happens(p)
			require.Equal(t, test.want, p.Answer(key, test.side, test.verb, at(10)))
			require.Equal(t, test.remains, len(p.causes) > 0, "what is answered is forgotten")
		})
	}
}

func TestAStatusDoesNotTouch(t *testing.T) {
	t.Parallel()
	pod := func(change func(*corev1.Pod)) *corev1.Pod {
		out := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "u", Generation: 1, Labels: map[string]string{"a": "b"}}}
		change(out)
		return out
	}
	before := pod(func(*corev1.Pod) {})
	require.False(t, touched(before, pod(func(p *corev1.Pod) { p.Status.Phase, p.ResourceVersion = corev1.PodRunning, "2" })))
	for name, change := range map[string]func(*corev1.Pod){
		"a spec":        func(p *corev1.Pod) { p.Generation = 2 },
		"a label":       func(p *corev1.Pod) { p.Labels = nil },
		"an annotation": func(p *corev1.Pod) { p.Annotations = map[string]string{"a": "b"} },
		"a deletion":    func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} },
		"a namesake":    func(p *corev1.Pod) { p.UID = "v" },
		"an object whose changes are not counted": func(p *corev1.Pod) { p.Generation = 0 },
	} {
		require.True(t, touched(before, pod(change)), name)
	}
	require.True(t, touched(nil, before), "a new object")
}
