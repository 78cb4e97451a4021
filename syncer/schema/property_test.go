package schema_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"

	"nestling.dev/nestling/syncer/schema"
)

// shape is a schema, with which objects can be drawn and checked.
type shape struct {
	Type       string           `json:"type,omitempty"`
	Properties map[string]shape `json:"properties,omitempty"`
	Additional *shape           `json:"additionalProperties,omitempty"`
	Items      *shape           `json:"items,omitempty"`
	Preserve   bool             `json:"x-kubernetes-preserve-unknown-fields,omitempty"`
	Kinds      []any            `json:"x-kubernetes-group-version-kind,omitempty"`
}

func drawShape(t *rapid.T, depth int) shape {
	kinds := []string{"string", "object", "map", "array"}
	if depth == 0 {
		kinds = kinds[:1]
	}
	switch rapid.SampledFrom(kinds).Draw(t, "kind") {
	case "object":
		out := shape{Type: "object", Properties: map[string]shape{}, Preserve: rapid.IntRange(0, 5).Draw(t, "preserve") == 0}
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 1, 4, rapid.ID).Draw(t, "fields") {
			out.Properties[name] = drawShape(t, depth-1)
		}
		return out
	case "map":
		elem := drawShape(t, depth-1)
		return shape{Type: "object", Additional: &elem}
	case "array":
		elem := drawShape(t, depth-1)
		return shape{Type: "array", Items: &elem}
	}
	return shape{Type: "string"}
}

// drawValue is one that fits a shape; unknown fields are mixed in and counted, and a value
// without them is returned, too.
func drawValue(t *rapid.T, s shape, unknown *int) (dirty, clean any) {
	switch {
	case s.Items != nil:
		dirtyList, cleanList := []any{}, []any{}
		for range rapid.IntRange(0, 3).Draw(t, "length") {
			d, c := drawValue(t, *s.Items, unknown)
			dirtyList, cleanList = append(dirtyList, d), append(cleanList, c)
		}
		return dirtyList, cleanList
	case s.Additional != nil:
		dirtyMap, cleanMap := map[string]any{}, map[string]any{}
		for i := range rapid.IntRange(0, 3).Draw(t, "size") {
			dirtyMap[fmt.Sprint("key", i)], cleanMap[fmt.Sprint("key", i)] = drawValue(t, *s.Additional, unknown)
		}
		return dirtyMap, cleanMap
	case s.Type == "object":
		dirtyMap, cleanMap := map[string]any{}, map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			if rapid.Bool().Draw(t, "set") {
				dirtyMap[name], cleanMap[name] = drawValue(t, s.Properties[name], unknown)
			}
		}
		if rapid.Bool().Draw(t, "unknown") {
			value := map[string]any{"x": "y"}
			dirtyMap["unknown"] = value
			if s.Preserve {
				cleanMap["unknown"] = value
			} else {
				*unknown++
			}
		}
		return dirtyMap, cleanMap
	}
	return "text", "text"
}

// Pruning takes what the schema does not know and nothing else, and once is enough.
func TestPruningTakesTheUnknownOnly(t *testing.T) {
	t.Parallel()
	kind := runtimeschema.GroupVersionKind{Group: "example.org", Version: "v1", Kind: "Gadget"}
	rapid.Check(t, func(t *rapid.T) {
		spec := drawShape(t, 4)
		text, err := json.Marshal(map[string]any{"components": map[string]any{"schemas": map[string]any{"Gadget": shape{
			Type: "object", Properties: map[string]shape{"spec": spec},
			Kinds: []any{map[string]string{"group": kind.Group, "version": kind.Version, "kind": kind.Kind}},
		}}}})
		require.NoError(t, err)
		nodes, err := schema.Parse(text, kind)
		require.NoError(t, err)

		unknown := 0
		dirty, clean := drawValue(t, spec, &unknown)
		gadget := func(spec any) *unstructured.Unstructured {
			return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.org/v1", "kind": "Gadget", "spec": spec}}
		}
		pruner := schema.NewPruner(gadget(dirty), nodes[kind])
		require.Equal(t, unknown > 0, len(pruner.Find(gadget(dirty))) > 0)
		once := pruner.Prune(gadget(dirty))
		if diff := cmp.Diff(gadget(clean), once); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		require.Same(t, once, pruner.Prune(once))
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(definition))
	f.Add(document(f))
	kind := runtimeschema.GroupVersionKind{Group: "example.org", Version: "v1", Kind: "Gadget"}
	f.Fuzz(func(t *testing.T, text []byte) {
		nodes, err := schema.Parse(text, kind, core("Pod"))
		if err != nil {
			return
		}
		for _, node := range nodes {
			gadget := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"a": []any{map[string]any{"b": "c"}}}}}
			pruner := schema.NewPruner(gadget, node)
			if found := pruner.Find(pruner.Prune(gadget)); len(found) > 0 {
				t.Errorf("%v is left", found)
			}
		}
	})
}
