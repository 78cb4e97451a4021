package server

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic/fake"
)

func definition(annotations map[string]any, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "things.example.org", "annotations": annotations}, "spec": spec,
	}}
}

func TestDefinitionsAreCopied(t *testing.T) {
	t.Parallel()
	hosts := definition(
		map[string]any{"api-approved.kubernetes.io": "yes", "admin.example.org/note": "x"},
		map[string]any{"group": "example.org", "conversion": map[string]any{"strategy": "Webhook", "webhook": map[string]any{"clientConfig": map[string]any{}}}},
	)
	want := definition(
		map[string]any{"api-approved.kubernetes.io": "yes", "nestling.dev/mirror": "true"},
		map[string]any{"group": "example.org", "conversion": map[string]any{"strategy": "None"}},
	)
	old := definition(map[string]any{"nestling.dev/mirror": "true", "mine": "1"}, map[string]any{"group": "example.org"})
	mended := definition(map[string]any{"nestling.dev/mirror": "true", "mine": "1"}, map[string]any{"group": "example.org", "conversion": map[string]any{"strategy": "None"}})
	own := definition(map[string]any{}, map[string]any{"group": "example.org", "scope": "Cluster"})
	for name, c := range map[string]struct {
		has  []runtime.Object
		want *unstructured.Unstructured
	}{
		"made, without the host's webhook":        {nil, want},
		"brought up to date":                      {[]runtime.Object{old}, mended},
		"left alone where the tenant has its own": {[]runtime.Object{own}, own},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := fake.NewSimpleDynamicClient(runtime.NewScheme(), hosts.DeepCopy())
			var has []runtime.Object
			for _, object := range c.has {
				has = append(has, object.DeepCopyObject())
			}
			virtual := fake.NewSimpleDynamicClient(runtime.NewScheme(), has...)
			require.NoError(t, copyDefinition(t.Context(), host, virtual, "things.example.org"))
			got, err := virtual.Resource(definitions()).Get(t.Context(), "things.example.org", metav1.GetOptions{})
			require.NoError(t, err)
			if diff := cmp.Diff(c.want.Object, got.Object); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	empty := fake.NewSimpleDynamicClient(runtime.NewScheme())
	require.True(t, apierrors.IsNotFound(copyDefinition(t.Context(), empty, empty, "things.example.org")))
}
