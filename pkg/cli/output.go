package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/yaml"
)

// checkOutput refuses a format that a command does not have.
func checkOutput(output string, allowed ...string) error {
	if output == "" || slices.Contains(allowed, output) {
		return nil
	}
	list := allowed[0]
	if last := len(allowed) - 1; last > 0 {
		list = strings.Join(allowed[:last], ", ") + " or " + allowed[last]
	}
	return &usageError{fmt.Errorf("--output: %q is not %s", output, list)}
}

// write prints a value as json or yaml.
func write(out io.Writer, value any, output string) error {
	content, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	content = append(content, '\n')
	if output == "yaml" {
		if content, err = yaml.JSONToYAML(content); err != nil {
			return err
		}
	}
	_, err = out.Write(content)
	return err
}

// age is how long ago a moment was, as kubectl says it.
func age(at, now time.Time) string {
	if at.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(at))
}

// expiry is how long a tenant has left.
func expiry(at time.Time, now time.Time) string {
	switch {
	case at.IsZero():
		return "<never>"
	case !at.After(now):
		return "over"
	}
	return "in " + duration.HumanDuration(at.Sub(now))
}

// orNone fills the cell of a table.
func orNone(text string) string {
	if text == "" {
		return "<none>"
	}
	return text
}
