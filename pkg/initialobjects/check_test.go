package initialobjects

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

func read(t *testing.T, text string) []map[string]any {
	t.Helper()
	var out []map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(text), &out))
	return out
}

func TestBadObjectsNameTheField(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ text, want string }{
		"no kind":                {`[{apiVersion: v1, metadata: {name: a}}]`, `[{0 kind is required}]`},
		"no version":             {`[{kind: ConfigMap, metadata: {name: a}}]`, `[{0 apiVersion is required}]`},
		"no name":                {`[{apiVersion: v1, kind: ConfigMap}]`, `[{0 metadata.name is required}]`},
		"a name to be generated": {`[{apiVersion: v1, kind: ConfigMap, metadata: {generateName: a-}}]`, `[{0 metadata.generateName would make a new object at every start: want a name}]`},
		"a list":                 {`[{apiVersion: v1, kind: List, metadata: {name: a}}]`, `[{0 kind "List": want its items, each as an object of its own}]`},
		"an exported one":        {`[{apiVersion: v1, kind: ConfigMap, metadata: {name: a, uid: b}}]`, `[{0 metadata.uid is the server's to say}]`},
		"an unknown field":       {`[{apiVersion: v1, kind: ConfigMap, metadata: {name: ok}}, {apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {replica: 1}}]`, `[{1 spec.replica unknown field}]`},
		"a number for a string":  {`[{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: 1}}]`, `[{0  json: cannot unmarshal number into Go struct field ConfigMap.data of type string}]`},
		"one twice":              {`[{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}, {apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}}]`, `[{1  is the same object as [0]}]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects, problems := Check(read(t, test.text))
			require.Nil(t, objects)
			require.Equal(t, test.want, fmt.Sprint(problems))
		})
	}
}

func TestGoodObjects(t *testing.T) {
	t.Parallel()
	objects, problems := Check(read(t, `
- {apiVersion: example.org/v1, kind: Widget, metadata: {name: a}, spec: {whatever: {it: says}}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: team}, data: {a: b}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: b}}
- {apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: widgets.example.org}}
- {apiVersion: v1, kind: Namespace, metadata: {name: team}}
`))
	require.Empty(t, problems)
	var order []string
	for _, object := range inOrder(objects) {
		order = append(order, object.GetKind())
	}
	require.Equal(t, []string{"Namespace", "CustomResourceDefinition", "Widget", "ConfigMap", "ConfigMap"}, order, "what others need comes first")
}
