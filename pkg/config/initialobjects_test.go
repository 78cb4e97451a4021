package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBadInitialObjectsNameTheField(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ file, want string }{
		"one without a name":  {`initialObjects: [{apiVersion: v1, kind: Namespace}]`, `initialObjects[0].metadata.name: is required`},
		"a misspelt field":    {`initialObjects: [{apiVersion: v1, kind: Namespace, metadata: {name: a, label: {}}}]`, `initialObjects[0].metadata.label: unknown field`},
		"what is no object":   {`initialObjects: [text]`, `initialObjects: want a mapping, found string`},
		"the same once more":  {`initialObjects: [{apiVersion: v1, kind: Namespace, metadata: {name: a}}, {apiVersion: v1, kind: Namespace, metadata: {name: a}}]`, `initialObjects[1]: is the same object as [0]`},
		"an unlikely version": {`initialObjects: [{apiVersion: a/b/c, kind: Namespace, metadata: {name: a}}]`, `initialObjects[0].apiVersion: unexpected GroupVersion string: a/b/c`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := complete(t, test.file+"\n")
			require.EqualError(t, err, "config: "+test.want)
		})
	}
}

func TestInitialObjectsByFlag(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "objects.yaml")
	require.NoError(t, os.WriteFile(path, []byte("# two\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n"), 0o600))
	completed, err := complete(t, "", "--initial-objects="+path)
	require.NoError(t, err)
	require.Len(t, completed.Objects(), 2)
	require.Equal(t, "b", completed.Objects()[1].GetName())
}
