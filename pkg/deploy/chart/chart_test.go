package chart

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the generated files of the chart")

// root is the chart.
const root = "../../../manifests/chart/nestling"

func TestChartIsGenerated(t *testing.T) {
	t.Parallel()
	files, err := Files(map[string]string{
		module + "pkg/deploy": "..", module + "pkg/config": "../../config", module + "pkg/podrules": "../../podrules",
	})
	require.NoError(t, err)
	for name, want := range files {
		path := filepath.Join(root, name)
		if *update {
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, want, 0o644))
		}
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(string(want), string(got)), "%s is not what pkg/deploy/chart generates: run `make update-generated`", name)
	}
}
