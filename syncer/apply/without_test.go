package apply

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"nestling.dev/nestling/syncer/resource"
)

func TestWithout(t *testing.T) {
	t.Parallel()
	pod := func(phase corev1.PodPhase, conditions ...string) *corev1.Pod {
		out := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Status: corev1.PodStatus{Phase: phase}}
		for _, kind := range conditions {
			out.Status.Conditions = append(out.Status.Conditions, corev1.PodCondition{Type: corev1.PodConditionType(kind)})
		}
		return out
	}
	custom := func(status map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "K", "status": status}}
	}
	for name, test := range map[string]struct {
		live, want resource.Object
		paths      []string
		whole      bool
		result     resource.Object // nil: want, unchanged
	}{
		"elements of a list go, their neighbours stay": {
			live: pod("Pending", "A"), want: pod("Running", "A", "B", "C", "D"),
			paths:  []string{"status.conditions[1].type", "status.conditions[3].status", "status.conditions[1].status"},
			result: pod("Running", "A", "C"),
		},
		"a field goes back": {
			live: pod("Pending", "A"), want: pod("Strange", "A", "B"),
			paths:  []string{"status.phase"},
			result: pod("Pending", "A", "B"),
		},
		"a whole list goes back": {
			live: pod("Pending", "A"), want: pod("Running", "A", "B", "C"), whole: true,
			paths:  []string{"status.conditions[1].type"},
			result: pod("Running", "A"),
		},
		"a list that is shorter than the path goes back": {
			live: pod("Pending", "A"), want: pod("Running", "B"),
			paths:  []string{"status.conditions[7].type"},
			result: pod("Running", "A"),
		},
		"keys of maps": {
			live: custom(map[string]any{"phase": "x"}), want: custom(map[string]any{"phase": "y", "limits": map[string]any{"a": "b"}}),
			paths:  []string{"status.limits[example.org/a]"},
			result: custom(map[string]any{"phase": "y"}),
		},
		"nothing of it is named": {
			live: pod("Pending"), want: pod("Running"), paths: []string{"spec", "status", ""},
		},
		"what is named is as it was": {
			live: pod("Pending"), want: pod("Pending", "A"), paths: []string{"status.phase"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			live, want := test.live.DeepCopyObject(), test.want.DeepCopyObject()
			got, changed := Without(test.live, test.want, test.paths, test.whole)
			require.Equal(t, test.result != nil, changed)
			if test.result != nil {
				require.Empty(t, cmp.Diff(test.result, got))
			}
			require.Empty(t, cmp.Diff(live, test.live))
			require.Empty(t, cmp.Diff(want, test.want))
		})
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	patch := `{"metadata":{"uid":"u","labels":{"a":null}},"spec":{"$setElementOrder/ports":[{"port":1}],"ports":[{"port":1,"appProtocol":"x"}],"list":["a","b"],"gone":null}}`
	require.Equal(t, []string{"metadata.labels.a", "spec.gone", "spec.list", "spec.ports[].appProtocol", "spec.ports[].port"}, Paths([]byte(patch)))
	require.Empty(t, Paths([]byte(`no JSON`)))
	require.Equal(t, Change([]byte(`{"metadata":{"uid":"u","resourceVersion":"7"},"data":{"a":"b"}}`)), Change([]byte(`{"data":{"a":"b"},"metadata":{"uid":"u"}}`)))
}
