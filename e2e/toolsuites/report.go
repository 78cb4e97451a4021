package toolsuites

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"nestling.dev/nestling/e2e/conformance"
)

// Report is what is written down.
type Report struct {
	// Environment says what it ran on: a line.
	Environment string
	Suites      []Suite
	// Results are those of each target, by suite; the host's may be missing.
	Results map[string]map[string]Results
	Reasons *Reasons
}

// Unexplained are the tests that failed without a reason in reasons.yaml.
func (r Report) Unexplained() []string {
	var out []string
	for _, target := range []string{conformance.Tenant, conformance.Host} {
		for _, suite := range r.Suites {
			results := r.Results[target][suite.Name]
			for _, test := range slices.Sorted(maps.Keys(results)) {
				if results[test].Outcome == conformance.Failed && r.Reasons.failure(target, suite.Name, test) == "" {
					out = append(out, target+": "+suite.Name+": "+test+": "+results[test].Message)
				}
			}
		}
	}
	return out
}

// Markdown is the report for people; it names every test.
func (r Report) Markdown() string {
	var out strings.Builder
	fmt.Fprintf(&out, "# Integration tests of tools, in a tenant\n\n%s\n\n", r.Environment)
	fmt.Fprintf(&out, "| suite | cluster | passed | failed | failed without a reason | skipped | left out |\n|---|---|---|---|---|---|---|\n")
	for _, suite := range r.Suites {
		for _, target := range []string{conformance.Tenant, conformance.Host} {
			results, ran := r.Results[target][suite.Name]
			if !ran {
				continue
			}
			var passed, failed, unexplained, skipped, excluded int
			for test, result := range results {
				switch {
				case result.Outcome == conformance.Passed:
					passed++
				case result.Outcome == conformance.Failed:
					failed++
					if r.Reasons.failure(target, suite.Name, test) == "" {
						unexplained++
					}
				case r.Reasons.excluded(suite.Name, test) != "":
					excluded++
				default:
					skipped++
				}
			}
			fmt.Fprintf(&out, "| %s | %s | %d | %d | %d | %d | %d |\n", suite.Name, target, passed, failed, unexplained, skipped, excluded)
		}
	}
	for _, suite := range r.Suites {
		r.section(&out, suite)
	}
	return out.String()
}

// section is a suite's: the tenant's results, and where the host's are others.
func (r Report) section(out *strings.Builder, suite Suite) {
	fmt.Fprintf(out, "\n## %s\n\n- What: %s.\n- Source: %s.\n- Pointed to the cluster: %s.\n", suite.Name, suite.What, suite.Source, suite.Pointed)
	var failed, excluded, skipped, passed, host []string
	results := r.Results[conformance.Tenant][suite.Name]
	for _, test := range slices.Sorted(maps.Keys(results)) {
		result := results[test]
		switch {
		case result.Outcome == conformance.Failed:
			reason := r.Reasons.failure(conformance.Tenant, suite.Name, test)
			if reason == "" {
				reason = "**no reason known**: " + conformance.Bounded(result.Message)
			}
			failed = append(failed, fmt.Sprintf("- %s (%s)\n  - %s", test, r.onHost(suite.Name, test), reason))
		case result.Outcome == conformance.Passed:
			passed = append(passed, "- "+test)
		case r.Reasons.excluded(suite.Name, test) != "":
			excluded = append(excluded, "- "+test+"\n  - "+r.Reasons.excluded(suite.Name, test))
		default:
			skipped = append(skipped, "- "+test+"\n  - "+conformance.Bounded(result.Message))
		}
		if other, ran := r.Results[conformance.Host][suite.Name][test]; ran && other.Outcome == conformance.Failed && result.Outcome == conformance.Passed {
			host = append(host, "- "+test+"\n  - "+r.Reasons.failure(conformance.Host, suite.Name, test))
		}
	}
	for _, group := range []struct {
		title string
		lines []string
	}{{"Failed", failed}, {"Left out", excluded}, {"Skipped", skipped}, {"Failed on the host, and not in the tenant", host}, {"Passed", passed}} {
		if len(group.lines) > 0 {
			fmt.Fprintf(out, "\n### %s\n\n%s\n", group.title, strings.Join(group.lines, "\n"))
		}
	}
}

// onHost says how a test ended on the host.
func (r Report) onHost(suite, test string) string {
	result, ran := r.Results[conformance.Host][suite][test]
	if !ran {
		return "not run on the host"
	}
	return string(result.Outcome) + " on the host"
}
