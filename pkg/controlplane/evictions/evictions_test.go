package evictions

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/syncer/nodefacts"
	"nestling.dev/nestling/syncer/resource"
)

// The host's taints end no pod here: it does that itself, and may let some stay.
func TestOnlyTheTenantsOwnTaintsEndPods(t *testing.T) {
	t.Parallel()
	host := corev1.Taint{Key: "pool", Effect: corev1.TaintEffectNoExecute}
	own := corev1.Taint{Key: "mine", Effect: corev1.TaintEffectNoExecute}
	lost := corev1.Taint{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoExecute}
	got, err := trimNode(&corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "node-1", ResourceVersion: "7", Annotations: map[string]string{
			resource.AnnotationMirror: "true", resource.AnnotationCopied: nodefacts.OfHost(nil, []corev1.Taint{host}),
		}},
		Spec: corev1.NodeSpec{Unschedulable: true, Taints: []corev1.Taint{host, own, lost, {Key: "mine", Effect: corev1.TaintEffectNoSchedule}}},
	})
	require.NoError(t, err)
	want := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1", ResourceVersion: "7"}, Spec: corev1.NodeSpec{Taints: []corev1.Taint{own}}}
	require.Empty(t, cmp.Diff(want, got))
}

func TestAPodIsKeptAsFarAsItMatters(t *testing.T) {
	t.Parallel()
	got, err := trimPod(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "1", Labels: map[string]string{"a": "b"}},
		Spec: corev1.PodSpec{
			NodeName: "node-1", Tolerations: []corev1.Toleration{{Key: "mine"}}, Containers: []corev1.Container{{Name: "main"}},
		},
	})
	require.NoError(t, err)
	want := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "1"},
		Spec:       corev1.PodSpec{NodeName: "node-1", Tolerations: []corev1.Toleration{{Key: "mine"}}},
	}
	require.Empty(t, cmp.Diff(want, got))
}
