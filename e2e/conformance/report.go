package conformance

import (
	"fmt"
	"slices"
	"strings"
)

// Report is what is written down of a target.
type Report struct {
	Target string
	// Environment says what it ran on: a line.
	Environment string
	Parts       []Part
	// All are the names of the suite's specs.
	All        []string
	Results    *Results
	Exceptions *Exceptions
}

// Unexplained are the specs of the parts that failed without a reason in exceptions.yaml.
func (r Report) Unexplained() ([]string, error) {
	var out []string
	for _, part := range r.Parts {
		specs, err := part.choose(r.All)
		if err != nil {
			return nil, err
		}
		for _, name := range specs {
			if r.Results.Specs[name].Outcome != Failed {
				continue
			}
			if reason, _ := r.Exceptions.reason(r.Target, name); reason == "" {
				out = append(out, name)
			}
		}
	}
	return out, nil
}

// Markdown is the report for people; it names every spec.
func (r Report) Markdown() (string, error) {
	var out strings.Builder
	fmt.Fprintf(&out, "# Upstream's end-to-end suite on the %s\n\n%s\n\n", r.Target, r.Environment)
	fmt.Fprintf(&out, "| part | specs | passed | failed | not run | skipped by itself | took |\n|---|---|---|---|---|---|---|\n")
	type list struct {
		part  Part
		specs []string
	}
	var lists []list
	for _, part := range r.Parts {
		specs, err := part.choose(r.All)
		if err != nil {
			return "", err
		}
		specs = slices.Clone(specs)
		slices.Sort(specs)
		lists = append(lists, list{part, specs})
		count := map[Outcome]int{}
		for _, name := range specs {
			count[r.Results.Specs[name].Outcome]++
		}
		took := "-"
		if seconds, ok := r.Results.Took[part.Name]; ok {
			took = fmt.Sprintf("%.0f s, %d at a time", seconds, part.Processes)
		}
		fmt.Fprintf(&out, "| %s | %d | %d | %d | %d | %d | %s |\n", part.Words, len(specs), count[Passed], count[Failed], count[""], count[Skipped], took)
	}
	for _, l := range lists {
		fmt.Fprintf(&out, "\n## %s\n", l.part.Words)
		for _, group := range []struct {
			title   string
			outcome Outcome
		}{{"Failed", Failed}, {"Not run", ""}, {"Skipped", Skipped}, {"Passed", Passed}} {
			var lines []string
			for _, name := range l.specs {
				if result := r.Results.Specs[name]; result.Outcome == group.outcome {
					lines = append(lines, r.line(name, result))
				}
			}
			if len(lines) > 0 {
				fmt.Fprintf(&out, "\n### %s\n\n%s\n", group.title, strings.Join(lines, "\n"))
			}
		}
	}
	return out.String(), nil
}

func (r Report) line(name string, result Result) string {
	line := "- " + name
	switch result.Outcome {
	case Skipped:
		line += "\n  - " + result.Message
	case Failed, "":
		reason, ofHost := r.Exceptions.reason(r.Target, name)
		switch {
		case reason == "" && result.Outcome == "":
		case reason == "":
			line += "\n  - **no reason known**: " + result.Message
		case ofHost:
			line += "\n  - on the host too: " + reason
		default:
			line += "\n  - of a tenant on shared nodes: " + reason
		}
	}
	return line
}
