package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Outcome of a spec.
type Outcome string

// Outcomes. Skipped is what a spec says of itself: it does not apply here.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped"
)

// Result is the last outcome of a spec.
type Result struct {
	Outcome Outcome `json:"outcome"`
	Seconds float64 `json:"seconds,omitempty"`
	// Message says why it failed or was skipped; its first line.
	Message string `json:"message,omitempty"`
}

// Results are those of one target, by the full name of the spec.
type Results struct {
	Specs map[string]Result `json:"specs"`
	// Took is how long each part took when it was run whole, in seconds.
	Took map[string]float64 `json:"took,omitempty"`
}

func newResults() *Results {
	return &Results{Specs: map[string]Result{}, Took: map[string]float64{}}
}

// loadResults reads what an earlier run has left; empty where there is none.
func loadResults(file string) (*Results, error) {
	results := newResults()
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return results, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, results); err != nil {
		return nil, fmt.Errorf("results of an earlier run, %s: %w", file, err)
	}
	return results, nil
}

// save replaces the file at once: a run may be cut at any time.
func (r *Results) save(file string) error {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	next := file + ".next"
	if err := os.WriteFile(next, append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(next, file)
}

// with are the names, in order, of the specs that ended so.
func (r *Results) with(outcome Outcome) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(r.Specs)) {
		if r.Specs[name].Outcome == outcome {
			names = append(names, name)
		}
	}
	return names
}

// forget removes the specs of a part that is begun anew.
func (r *Results) forget(specs []string) {
	for _, name := range specs {
		delete(r.Specs, name)
	}
}
