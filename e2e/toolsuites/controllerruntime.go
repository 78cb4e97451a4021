package toolsuites

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"nestling.dev/nestling/e2e/command"
	"nestling.dev/nestling/e2e/conformance"
)

const (
	controllerRuntime = "sigs.k8s.io/controller-runtime"
	// attempts of a spec: upstream's cluster is an API server alone, and specs compare and
	// update what they have just made, while controllers of a whole cluster write to it.
	attempts = "5"
	// packagePatience is for the specs of a package, ginkgo's own limit.
	packagePatience = "8m"
)

// controllerRuntimeSuite builds the test programs of all packages that use envtest, in <root>/bin/tools.
func controllerRuntimeSuite(ctx context.Context, root string, reasons *Reasons) (Suite, error) {
	nested := filepath.Join(root, "e2e", "conformancebins")
	source, version, err := command.Module(ctx, nested, controllerRuntime)
	if err != nil {
		return Suite{}, err
	}
	const name = "controller-runtime"
	packages, err := packagesThatUse(os.DirFS(source), "envtest.Environment{")
	if err != nil {
		return Suite{}, err
	}
	programs := map[string]string{}
	for _, p := range packages {
		if reasons.excluded(name, p+": all") != "" {
			continue
		}
		programs[p] = filepath.Join(root, "bin", "tools", strings.ReplaceAll(p, "/", "-")+".test")
		if _, err := command.Go(ctx, nested, "test", "-c", "-ldflags", "-s -w", "-o", programs[p], controllerRuntime+"/"+p); err != nil {
			return Suite{}, fmt.Errorf("build the tests of %s: %w", p, err)
		}
	}
	return Suite{
		Name: name, Source: controllerRuntime + " " + version,
		What:    fmt.Sprintf("controller-runtime's own test suites that use envtest: those of %d packages", len(packages)),
		Pointed: "USE_EXISTING_CLUSTER=true and KUBECONFIG; a spec has " + attempts + " attempts, since upstream's cluster has no controllers that write to what a spec has just made; after each package what it has left is deleted, since upstream begins each with a new cluster; " + pointedBare,
		run: func(ctx context.Context, target conformance.Target, focus *regexp.Regexp, dir string) (all Results, err error) {
			copied := filepath.Join(dir, "source")
			if err := copyOf(source, copied, "pkg", "examples"); err != nil {
				return nil, err
			}
			all = Results{}
			cluster := &bare{kubectl: filepath.Join(root, "bin", "host", "kubectl"), kubeconfig: target.Kubeconfig}
			if err := cluster.begin(ctx); err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, cluster.end(ctx)) }()
			for _, p := range slices.Sorted(maps.Keys(programs)) {
				if focus != nil && !focus.MatchString(p) {
					continue
				}
				found, err := runGinkgo(ctx, programs[p], filepath.Join(copied, p), target, filepath.Join(dir, strings.ReplaceAll(p, "/", "-")))
				if err != nil {
					return nil, fmt.Errorf("%s: %w", p, err)
				}
				for test, result := range found {
					all[p+": "+test] = result
				}
				if err := cluster.tidy(ctx); err != nil {
					return nil, fmt.Errorf("after %s: %w", p, err)
				}
			}
			for _, p := range packages {
				if programs[p] == "" {
					all[p+": all"] = conformance.Result{Outcome: conformance.Skipped}
				}
			}
			return all, nil
		},
	}, nil
}

// packagesThatUse lists the directories below pkg that have a test with the text.
func packagesThatUse(source fs.FS, text string) ([]string, error) {
	found := map[string]bool{}
	err := fs.WalkDir(source, "pkg", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		data, err := fs.ReadFile(source, file)
		if err == nil && bytes.Contains(data, []byte(text)) {
			found[path.Dir(file)] = true
		}
		return err
	})
	// Its own package names the type without a qualifier.
	found["pkg/envtest"] = true
	return slices.Sorted(maps.Keys(found)), err
}

// runGinkgo runs a test program in its package's directory.
func runGinkgo(ctx context.Context, program, dir string, target conformance.Target, out string) (map[string]conformance.Result, error) {
	log, err := os.Create(out + ".log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command := exec.CommandContext(ctx, program, "-test.v", "-test.timeout=0",
		"-ginkgo.no-color", "-ginkgo.flake-attempts="+attempts, "-ginkgo.timeout="+packagePatience, "-ginkgo.json-report="+out+".json")
	command.Dir, command.Stdout, command.Stderr = dir, log, log
	command.Env = append(os.Environ(), "USE_EXISTING_CLUSTER=true", "KUBECONFIG="+target.Kubeconfig)
	ended := command.Run() // its code says whether a spec failed; whether they ran at all, its report
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	data, err := os.ReadFile(out + ".json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no report, see %s: %w", log.Name(), ended)
	}
	if err != nil {
		return nil, err
	}
	found, err := conformance.ParseReport(data)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(log.Name())
	if err != nil {
		return nil, err
	}
	maps.Copy(found, plainTests(string(text)))
	if !slices.ContainsFunc(slices.Collect(maps.Values(found)), func(r conformance.Result) bool { return r.Outcome != conformance.Skipped }) {
		return map[string]conformance.Result{"all": {Outcome: conformance.Failed, Message: "no spec ran: what precedes them failed"}}, nil
	}
	return found, nil
}

var (
	// runner is the test function that runs ginkgo's specs.
	runner = regexp.MustCompile(`(?m)^=== RUN   (Test\w+)\nRunning Suite`)
	// plain is how the testing package says that a test has ended, subtests not among them.
	plain = regexp.MustCompile(`(?m)^--- (PASS|FAIL|SKIP): (Test\w+) \(([0-9.]+)s\)`)
)

// plainTests are those of a verbose log that are no specs of ginkgo's.
func plainTests(log string) map[string]conformance.Result {
	specs := map[string]bool{}
	for _, found := range runner.FindAllStringSubmatch(log, -1) {
		specs[found[1]] = true
	}
	results := map[string]conformance.Result{}
	for _, found := range plain.FindAllStringSubmatch(log, -1) {
		if specs[found[2]] {
			continue
		}
		seconds, _ := strconv.ParseFloat(found[3], 64) // digits and dots
		outcome := map[string]conformance.Outcome{"PASS": conformance.Passed, "FAIL": conformance.Failed, "SKIP": conformance.Skipped}[found[1]]
		results[found[2]] = conformance.Result{Outcome: outcome, Seconds: seconds}
	}
	return results
}
