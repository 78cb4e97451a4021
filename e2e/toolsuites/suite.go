package toolsuites

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"nestling.dev/nestling/e2e/conformance"
)

// Results are the outcomes of a suite's tests, by name.
type Results map[string]conformance.Result

// Suite is one of those that can be run.
type Suite struct {
	// Name is short, and stands before the names of tests in reasons.yaml.
	Name string
	// What it is, Source, with the version, and Pointed: how it was led to the target.
	What, Source, Pointed string

	// run takes a directory for logs and whatever else the suite makes, and an expression that
	// matches the functions or packages to run, or nil. What fails is in the results; the
	// error is for what could not be run.
	run func(ctx context.Context, target conformance.Target, focus *regexp.Regexp, dir string) (Results, error)
}

// pointedBare is what the suites have in common that are written for a cluster without nodes.
const pointedBare = "an admission policy (unscheduled.yaml) keeps pods from being scheduled, since upstream's cluster has no scheduler"

// suitePatience is for a suite on a busy machine; kubectl's takes half of it.
const suitePatience = time.Hour

// Run runs the suites, one after the other; logs and results are in <dir>/<target>/<suite>.
// With a focus, what it does not match has the results of earlier runs.
func Run(ctx context.Context, target conformance.Target, suites []Suite, focus *regexp.Regexp, dir string, say io.Writer) error {
	earlier, err := Earlier(target.Name, suites, dir)
	if err != nil {
		return err
	}
	for _, suite := range suites {
		logs := filepath.Join(dir, target.Name, suite.Name)
		if err := errors.Join(os.RemoveAll(logs), os.MkdirAll(logs, 0o755)); err != nil {
			return err
		}
		begin := time.Now()
		results, err := func() (Results, error) {
			ctx, cancel := context.WithTimeout(ctx, suitePatience)
			defer cancel()
			return suite.run(ctx, target, focus, logs)
		}()
		if err != nil {
			return fmt.Errorf("%s in the %s: %w", suite.Name, target.Name, err)
		}
		count := map[conformance.Outcome]int{}
		for _, result := range results {
			count[result.Outcome]++
		}
		fmt.Fprintf(say, "%s, %s: %d passed, %d failed, %d skipped, %.0f s\n", target.Name, suite.Name,
			count[conformance.Passed], count[conformance.Failed], count[conformance.Skipped], time.Since(begin).Seconds())
		if all := earlier[suite.Name]; focus != nil && all != nil {
			maps.Copy(all, results)
			results = all
		}
		data, err := json.MarshalIndent(results, "", " ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(logs, resultsFile), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// resultsFile is in the directory of a suite's logs, for reports of later runs.
const resultsFile = "results.json"

// Earlier are the results that earlier runs against a target have left; those of suites that
// never ran are missing.
func Earlier(target string, suites []Suite, dir string) (map[string]Results, error) {
	all := map[string]Results{}
	for _, suite := range suites {
		file := filepath.Join(dir, target, suite.Name, resultsFile)
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var results Results
		if err := json.Unmarshal(data, &results); err != nil {
			return nil, fmt.Errorf("results of an earlier run, %s: %w", file, err)
		}
		all[suite.Name] = results
	}
	return all, nil
}

// copyOf makes a copy of parts of a module that tests may write into.
func copyOf(source, into string, parts ...string) error {
	for _, part := range parts {
		if err := os.CopyFS(filepath.Join(into, part), os.DirFS(filepath.Join(source, part))); err != nil {
			return fmt.Errorf("copy of the sources: %w", err)
		}
	}
	// Modules do not say which files are programs; plugins of kubectl have to be.
	return filepath.WalkDir(into, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(file)
		if err == nil && bytes.HasPrefix(data, []byte("#!")) {
			err = os.Chmod(file, 0o755)
		}
		return err
	})
}
