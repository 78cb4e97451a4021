package nodefacts

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/syncer/resource"
)

func taint(key string, effect corev1.TaintEffect) corev1.Taint {
	return corev1.Taint{Key: key, Effect: effect}
}

func mirror(labels map[string]string, taints ...corev1.Taint) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{
			resource.AnnotationMirror: "true",
			resource.AnnotationCopied: OfHost(map[string]string{"zone": "a", "gone": "x"}, []corev1.Taint{taint("pool", corev1.TaintEffectNoSchedule)}),
		}},
		Spec: corev1.NodeSpec{Taints: taints},
	}
}

func TestOwn(t *testing.T) {
	t.Parallel()
	cordoned := mirror(nil)
	cordoned.Spec.Unschedulable = true
	hostCordoned := mirror(nil, taint(corev1.TaintNodeUnschedulable, corev1.TaintEffectNoSchedule))
	hostCordoned.Annotations[resource.AnnotationCopied] = OfHost(nil, hostCordoned.Spec.Taints)
	hostCordoned.Spec.Unschedulable = true
	old := mirror(map[string]string{"mine": "1"})
	delete(old.Annotations, resource.AnnotationCopied)
	for name, c := range map[string]struct {
		node   *corev1.Node
		labels map[string]string
		taints []corev1.Taint
	}{
		"nothing": {node: mirror(map[string]string{"zone": "a"}, taint("pool", corev1.TaintEffectNoSchedule))},
		"a label": {node: mirror(map[string]string{"zone": "b", "mine": "1"}), labels: map[string]string{"mine": "1"}},
		"a taint, and another effect of the host's key": {
			node:   mirror(map[string]string{"zone": "a", "gone": "x"}, taint("mine", corev1.TaintEffectNoExecute), taint("pool", corev1.TaintEffectNoExecute), taint("pool", corev1.TaintEffectNoSchedule)),
			taints: []corev1.Taint{taint("mine", corev1.TaintEffectNoExecute), taint("pool", corev1.TaintEffectNoExecute)},
		},
		"a condition is never the tenant's": {node: mirror(nil, taint(corev1.TaintNodeNotReady, corev1.TaintEffectNoSchedule))},
		"a cordon, before its taint is there": {
			node: cordoned, taints: []corev1.Taint{taint(corev1.TaintNodeUnschedulable, corev1.TaintEffectNoSchedule)},
		},
		"a cordon of both":                   {node: hostCordoned},
		"the mirror of an older version":     {node: old},
		"a node that the tenant has made up": {node: &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"mine": "1"}}}},
	} {
		labels, taints := Own(c.node)
		if len(labels) == 0 {
			labels = nil
		}
		require.Empty(t, cmp.Diff(c.labels, labels), name)
		require.Empty(t, cmp.Diff(c.taints, taints), name)
		if labels != nil || taints != nil {
			require.True(t, MayOwn(c.node), name)
		}
	}
}

func TestMayOwnIsFalseForWhatIsTheHosts(t *testing.T) {
	t.Parallel()
	node := mirror(map[string]string{"zone": "a", "gone": "x"}, taint("pool", corev1.TaintEffectNoSchedule))
	require.False(t, MayOwn(node))
	node.Labels["mine"] = "1"
	require.True(t, MayOwn(node))
}

func TestBoth(t *testing.T) {
	t.Parallel()
	host := []corev1.Taint{{Key: "pool", Value: "host", Effect: corev1.TaintEffectNoSchedule}}
	own := []corev1.Taint{{Key: "pool", Value: "own", Effect: corev1.TaintEffectNoSchedule}, taint("mine", corev1.TaintEffectNoSchedule)}
	require.Empty(t, cmp.Diff([]corev1.Taint{host[0], own[1]}, Both(host, own)))
	require.Len(t, host, 1)
}
