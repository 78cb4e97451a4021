package engine

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"nestling.dev/nestling/syncer/resource"
)

func TestReferencesComeAndGo(t *testing.T) {
	t.Parallel()
	config := resource.Ref{Resource: "configmaps", Key: resource.Key{Namespace: "n", Name: "c"}}
	one, two := owner{"pods", resource.Key{Namespace: "n", Name: "1"}}, owner{"pods", resource.Key{Namespace: "n", Name: "2"}}
	r := newReferences()
	steps := []struct {
		from    owner
		refs    []resource.Ref
		changed []resource.Ref
		has     bool
	}{
		{one, []resource.Ref{config}, []resource.Ref{config}, true},
		{one, []resource.Ref{config}, nil, true},
		{two, []resource.Ref{config, config}, nil, true},
		{one, nil, nil, true},
		{two, nil, []resource.Ref{config}, false},
	}
	for i, step := range steps {
		if diff := cmp.Diff(step.changed, r.Set(step.from, step.refs)); diff != "" {
			t.Errorf("step %d: changed (-want +got):\n%s", i, diff)
		}
		require.Equal(t, step.has, r.Has(config), "step %d", i)
	}
	require.Empty(t, r.from)
	require.Empty(t, r.to)
}
