// Chart renders a Helm chart from a directory, with values from the standard input, as
// `helm template` does for a chart without hooks.
package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 3 {
		return fmt.Errorf("usage: chart DIRECTORY RELEASE NAMESPACE < values.yaml")
	}
	chart, err := loader.LoadDir(args[0])
	if err != nil {
		return err
	}
	given, err := loader.LoadValues(in)
	if err != nil {
		return err
	}
	values, err := util.ToRenderValues(chart, given, common.ReleaseOptions{Name: args[1], Namespace: args[2], Revision: 1, IsInstall: true}, nil)
	if err != nil {
		return err
	}
	files, err := engine.Render(chart, values)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if path.Ext(name) == ".yaml" && strings.TrimSpace(files[name]) != "" {
			fmt.Fprintf(out, "---\n%s\n", files[name])
		}
	}
	return nil
}
