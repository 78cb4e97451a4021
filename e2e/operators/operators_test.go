package operators_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"nestling.dev/nestling/e2e/application"
	"nestling.dev/nestling/e2e/node"
	"nestling.dev/nestling/e2e/operators"
)

// TestManifestsNameOurImages wants every image to be one that is built here: none can be
// pulled. It builds what it renders, so it runs with the real node only.
func TestManifestsNameOurImages(t *testing.T) {
	if os.Getenv("NESTLING_E2E") == "" {
		t.Skip("only with NESTLING_E2E=1, see make e2e")
	}
	root, err := node.Root(t.Context())
	require.NoError(t, err)
	programs, err := node.Build(t.Context(), root)
	require.NoError(t, err)
	app, err := application.Build(t.Context(), root)
	require.NoError(t, err)
	set, err := operators.Build(t.Context(), root, operators.Tools{Kubectl: filepath.Join(programs, "kubectl"), Helm: app.Helm})
	require.NoError(t, err)
	known := map[string]bool{}
	for _, image := range set.Images() {
		known[image.Name] = true
	}
	seen := map[string]bool{}
	for name, render := range set.Manifests() {
		manifests, err := render(t.Context())
		require.NoError(t, err, name)
		require.NotContains(t, string(manifests), "${", "%s: a variable is left", name)
		for line := range strings.Lines(string(manifests)) {
			if _, value, ok := strings.Cut(strings.TrimSpace(line), "image: "); ok {
				value = strings.Trim(value, `"`)
				require.Contains(t, known, value, name)
				seen[value] = true
			}
		}
	}
	require.Len(t, seen, len(known))
}
