package toolsuites

import (
	"context"
	"os"
	"path/filepath"
)

// Names are those of all suites, in the order in which they are run.
func Names() []string { return []string{"helm", "kubectl", "controller-runtime"} }

// Build builds what the suites need, in the order of Names; root is the repository's. The go
// command knows what is up to date. kubectl has to be built already: it is the host's.
func Build(ctx context.Context, root string, reasons *Reasons) ([]Suite, error) {
	if err := os.MkdirAll(filepath.Join(root, "bin", "tools"), 0o755); err != nil {
		return nil, err
	}
	var suites []Suite
	for _, build := range []func() (Suite, error){
		func() (Suite, error) { return helmSuite(ctx, root) },
		func() (Suite, error) { return kubectlSuite(ctx, root, reasons) },
		func() (Suite, error) { return controllerRuntimeSuite(ctx, root, reasons) },
	} {
		suite, err := build()
		if err != nil {
			return nil, err
		}
		suites = append(suites, suite)
	}
	return suites, nil
}
