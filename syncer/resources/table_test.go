package resources_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
)

// every is every kind, those that a configuration asks for among them.
func every() []resource.Kind {
	return resources.Registry(resources.Options{ServiceAccounts: true, Snapshots: true})
}

func TestEveryKindSaysWhatItIs(t *testing.T) {
	t.Parallel()
	for _, kind := range every() {
		require.NotEmpty(t, kind.About.Virtual, "%s: what the virtual side owns", kind.Name)
		require.NotEmpty(t, kind.About.Host, "%s: what the host owns", kind.Name)
		require.NotEmpty(t, kind.About.Default, "%s: which take part by default", kind.Name)
		if !kind.Namespaced && kind.Direction == resource.FromHost {
			require.True(t, kind.Optional, "%s: a tenant starts without rights beyond its namespace", kind.Name)
		}
		if kind.Direction == resource.ReadOnly {
			continue
		}
		files, err := filepath.Glob(filepath.Join("testdata", kind.Resource.Resource, "*.txtar"))
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(files), 3, "%s: golden cases", kind.Name)
	}
}

// The README's table of kinds is the registry's. `make update-generated` writes it.
func TestTheTableOfKinds(t *testing.T) {
	t.Parallel()
	const (
		file       = "../../README.md"
		begin, end = "<!-- kinds: make update-generated -->\n", "<!-- kinds end -->\n"
	)
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(content), begin)
	require.True(t, found, "%s has no line %s", file, begin)
	table, after, found := strings.Cut(rest, end)
	require.True(t, found, "%s has no line %s", file, end)
	want := tableOfKinds()
	if update := flag.Lookup("update"); update != nil && update.Value.String() == "true" {
		require.NoError(t, os.WriteFile(file, []byte(before+begin+want+end+after), 0o644))
		return
	}
	require.Empty(t, cmp.Diff(table, want), "the table of kinds is not the registry's: run `make update-generated`")
}

func tableOfKinds() string {
	made := map[string]bool{} // those that the tenant has though it may not read the host's
	unreadable := map[string]bool{}
	for _, kind := range every() {
		unreadable[kind.Resource.GroupResource().String()] = true
	}
	for _, kind := range resources.Registry(resources.Options{Unreadable: unreadable}) {
		made[kind.Name] = kind.Make != nil
	}
	var out strings.Builder
	out.WriteString("| kind | direction | virtual side owns | host side owns | takes part by default | right |\n|---|---|---|---|---|---|\n")
	for _, kind := range every() {
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s | %s |\n", kind.Name, direction(kind), kind.About.Virtual, kind.About.Host, kind.About.Default, right(kind, made[kind.Name]))
	}
	return out.String()
}

func direction(kind resource.Kind) string {
	switch kind.Direction {
	case resource.ToHost:
		return "to host"
	case resource.FromHost:
		return "from host"
	default:
		return "stays"
	}
}

// right is where the process gets the right that a kind needs, and whether it starts without.
func right(kind resource.Kind, made bool) string {
	switch {
	case kind.Direction == resource.ReadOnly:
		return "none"
	case made:
		return "ClusterRole; made up without"
	case !kind.Namespaced || kind.Everywhere != "":
		return "ClusterRole; absent without"
	case kind.Optional:
		return "Role; absent without"
	default:
		return "Role"
	}
}
