package toolsuites

import (
	_ "embed"
	"fmt"
	"regexp"

	"sigs.k8s.io/yaml"

	"nestling.dev/nestling/e2e/conformance"
)

// Reason is why tests are left out, or fail.
type Reason struct {
	// Tests matches whole names: the suite's, a colon, a blank, and the test's.
	Tests string `json:"tests"`
	// Reason is for the reader of the report.
	Reason string `json:"reason"`

	pattern *regexp.Regexp
}

// Reasons are all that are known.
type Reasons struct {
	// Excluded are not run.
	Excluded []Reason `json:"excluded"`
	// Everywhere fail on the host too, or would: they want another kind of cluster.
	Everywhere []Reason `json:"everywhere"`
	// Tenant fail in a tenant alone, and Host on the host alone.
	Tenant []Reason `json:"tenant"`
	Host   []Reason `json:"host"`
}

//go:embed reasons.yaml
var reasonsFile []byte

// LoadReasons reads reasons.yaml.
func LoadReasons() (*Reasons, error) { return parseReasons(reasonsFile) }

func parseReasons(data []byte) (*Reasons, error) {
	out := &Reasons{}
	if err := yaml.UnmarshalStrict(data, out); err != nil {
		return nil, fmt.Errorf("reasons.yaml: %w", err)
	}
	for _, list := range [][]Reason{out.Excluded, out.Everywhere, out.Tenant, out.Host} {
		for i := range list {
			r := &list[i]
			var err error
			if r.pattern, err = conformance.ReadReason("tests", r.Tests, r.Reason); err != nil {
				return nil, fmt.Errorf("reasons.yaml: %w", err)
			}
		}
	}
	return out, nil
}

// find is the reason for a test; empty where there is none.
func find(list []Reason, suite, test string) string {
	for _, r := range list {
		if r.pattern.MatchString(suite + ": " + test) {
			return r.Reason
		}
	}
	return ""
}

// excluded says why a test is not run; empty if it is.
func (r *Reasons) excluded(suite, test string) string { return find(r.Excluded, suite, test) }

// failure says why a test fails on a target; empty where nobody knows.
func (r *Reasons) failure(target, suite, test string) string {
	if reason := find(r.Everywhere, suite, test); reason != "" {
		return reason
	}
	if target == conformance.Tenant {
		return find(r.Tenant, suite, test)
	}
	return find(r.Host, suite, test)
}
