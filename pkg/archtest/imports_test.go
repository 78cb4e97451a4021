package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "nestling.dev/nestling"

// rule is one sentence about imports.
type rule struct {
	// of selects the importing packages, as directories; a trailing /... means those below too. Empty means all.
	of []string
	// except takes some of them out again.
	except []string
	// forbid are the imports that of must not have. A package is meant with those below it.
	forbid []string
	// allow turns it round: of must have no imports but these and the standard library.
	allow []string
	// tests says that the rule holds for _test.go files as well.
	tests bool
	why   string
}

// pure are the packages of the syncer that decide and never act.
func pure() []string {
	return []string{"syncer/naming", "syncer/resource", "syncer/plan", "syncer/apply", "syncer/nodefacts", "syncer/resources", "syncer/explain"}
}

func rules() map[string]rule {
	testOnly := []string{"github.com/stretchr/testify", "github.com/google/go-cmp", "pgregory.net/rapid", "go.uber.org/goleak"}
	return map[string]rule{
		"Kubernetes' internals stay in the control plane and the simulated host": {
			except: []string{"pkg/controlplane/...", "pkg/simhost/..."},
			forbid: []string{"k8s.io/kubernetes"}, tests: true,
			why: "upstream promises nothing about them: a new release must be the business of few packages",
		},
		"etcd's server stays in embedded-etcd": {
			except: []string{"embedded-etcd/..."},
			forbid: []string{"go.etcd.io/etcd/server"}, tests: true,
			why: "one package knows how the store runs",
		},
		"the pure part of the syncer has no clients": {
			of: pure(), allow: append(inModule(pure()), "k8s.io/api", "k8s.io/apimachinery", "k8s.io/component-helpers/scheduling", "k8s.io/klog/v2"),
			why: "what it decides can be tested with values alone",
		},
		"the pure part of the syncer is tested with values": {
			of: pure(), tests: true,
			forbid: []string{"k8s.io/client-go", "k8s.io/apiserver", "k8s.io/kubernetes", module + "/syncer/engine"},
			why:    "a test that needs a client has found translation in the wrong place",
		},
		"what a server knows is read from documents": {
			of: []string{"syncer/schema"}, allow: append(inModule([]string{"syncer/resource", "syncer/naming"}), "k8s.io/api", "k8s.io/apimachinery", "k8s.io/kube-openapi"),
			why: "it is pure as well, but the documents are OpenAPI's, and upstream has the types to read them with",
		},
		"the syncer does not know the store": {
			of: []string{"syncer/..."}, forbid: []string{module + "/embedded-etcd", "go.etcd.io"}, tests: true,
			why: "it speaks to two API servers and nothing else",
		},
		"the store knows nothing of us": {
			of: []string{"embedded-etcd/..."}, forbid: inModule([]string{"pkg", "syncer", "cmd", "e2e"}), tests: true,
			why: "it could serve any program",
		},
		"the lifecycle knows no Kubernetes": {
			of: []string{"pkg/lifecycle"}, allow: []string{},
			why: "order and stopping have to be understood without it",
		},
		"nobody imports a command": {
			forbid: []string{module + "/cmd", module + "/e2e/cmd"}, tests: true,
			why: "main packages are the outermost layer",
		},
		"the product does not know its tests": {
			of: []string{"pkg/...", "syncer/...", "embedded-etcd/...", "cmd/..."}, forbid: []string{module + "/e2e"},
			why: "the real node is a tool of development",
		},
		"test libraries stay in tests": {
			of:     []string{"pkg/...", "syncer/...", "embedded-etcd/...", "cmd/..."},
			except: []string{"pkg/controlplane/controlplanetest/...", "pkg/leaktest", "syncer/resources/golden/..."}, // helpers of tests
			forbid: testOnly,
			why:    "they would end up in the image",
		},
	}
}

func TestImports(t *testing.T) {
	t.Parallel()
	packages := load(t)
	for name, rule := range rules() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for directory, files := range packages {
				if !rule.covers(directory) {
					continue
				}
				for _, file := range files {
					if file.test && !rule.tests {
						continue
					}
					for _, imported := range file.imports {
						if rule.offends(imported) {
							t.Errorf("%s imports %s: %s", file.path, imported, rule.why)
						}
					}
				}
			}
		})
	}
}

// The image has one binary, and neither the simulated host nor KWOK is in it.
func TestProductIsClean(t *testing.T) {
	t.Parallel()
	packages := load(t)
	seen := map[string]bool{}
	var visit func(directory string)
	visit = func(directory string) {
		if seen[directory] {
			return
		}
		seen[directory] = true
		for _, file := range packages[directory] {
			for _, imported := range file.imports {
				if file.test {
					continue
				}
				if below(imported, "sigs.k8s.io/kwok") || below(imported, module+"/pkg/simhost") || below(imported, "k8s.io/kubernetes/pkg/scheduler") {
					t.Errorf("cmd/nestling links %s, by %s", imported, file.path)
				}
				if next, ok := strings.CutPrefix(imported, module+"/"); ok {
					visit(next)
				}
			}
		}
	}
	require.Contains(t, packages, "cmd/nestling")
	visit("cmd/nestling")
}

// A rule that selects nothing, after a package was renamed, would hold for ever.
func TestRulesSelectSomething(t *testing.T) {
	t.Parallel()
	packages := slices.Collect(maps.Keys(load(t)))
	for name, rule := range rules() {
		for _, pattern := range rule.of {
			require.True(t, slices.ContainsFunc(packages, func(directory string) bool { return matches(directory, pattern) }), "%s: %s", name, pattern)
		}
	}
}

func (r rule) covers(directory string) bool {
	is := func(pattern string) bool { return matches(directory, pattern) }
	return (len(r.of) == 0 || slices.ContainsFunc(r.of, is)) && !slices.ContainsFunc(r.except, is)
}

func (r rule) offends(imported string) bool {
	within := func(parent string) bool { return below(imported, parent) }
	if slices.ContainsFunc(r.forbid, within) {
		return true
	}
	first, _, _ := strings.Cut(imported, "/")
	standard := !strings.Contains(first, ".")
	return r.allow != nil && !standard && !slices.ContainsFunc(r.allow, within)
}

func matches(directory, pattern string) bool {
	if parent, ok := strings.CutSuffix(pattern, "/..."); ok {
		return below(directory, parent)
	}
	return directory == pattern
}

func below(path, parent string) bool { return path == parent || strings.HasPrefix(path, parent+"/") }

func inModule(directories []string) []string {
	var out []string
	for _, directory := range directories {
		out = append(out, module+"/"+directory)
	}
	return out
}

// source is the part of a Go file that matters here.
type source struct {
	path    string
	test    bool
	imports []string
}

// load reads the imports of every Go file of this module, by directory. Nested modules are not ours.
func load(t *testing.T) map[string][]source {
	t.Helper()
	const root = "../.."
	packages := map[string][]source{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if path == root {
				return nil
			}
			_, nested := os.Stat(filepath.Join(path, "go.mod"))
			if nested == nil || strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || entry.Name() == "bin" {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		found := source{path: filepath.ToSlash(relative), test: strings.HasSuffix(path, "_test.go")}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			found.imports = append(found.imports, imported)
		}
		directory := filepath.ToSlash(filepath.Dir(relative))
		packages[directory] = append(packages[directory], found)
		return nil
	})
	require.NoError(t, err)
	return packages
}
