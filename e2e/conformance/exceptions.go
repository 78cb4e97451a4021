package conformance

import (
	_ "embed"
	"fmt"
	"regexp"

	"sigs.k8s.io/yaml"
)

// Exception is why specs do not pass.
type Exception struct {
	// Specs matches the whole names.
	Specs string `json:"specs"`
	// Reason is for the reader of a report.
	Reason string `json:"reason"`

	pattern *regexp.Regexp
}

// Exceptions are the reasons for specs that fail.
type Exceptions struct {
	// Host are those that fail on the host too: it is the machine's fault, or the images'.
	Host []Exception `json:"host"`
	// Tenant are those that a tenant on shared nodes cannot have.
	Tenant []Exception `json:"tenant"`
}

//go:embed exceptions.yaml
var exceptionsFile []byte

// LoadExceptions reads exceptions.yaml.
func LoadExceptions() (*Exceptions, error) { return parseExceptions(exceptionsFile) }

func parseExceptions(data []byte) (*Exceptions, error) {
	out := &Exceptions{}
	if err := yaml.UnmarshalStrict(data, out); err != nil {
		return nil, fmt.Errorf("exceptions.yaml: %w", err)
	}
	for _, list := range [][]Exception{out.Host, out.Tenant} {
		for i := range list {
			e := &list[i]
			if e.Specs == "" || e.Reason == "" {
				return nil, fmt.Errorf("exceptions.yaml: %+v: specs and reason are needed", *e)
			}
			var err error
			if e.pattern, err = regexp.Compile("^(?:" + e.Specs + ")$"); err != nil {
				return nil, fmt.Errorf("exceptions.yaml: specs %q: %w", e.Specs, err)
			}
		}
	}
	return out, nil
}

// reason why a spec fails on a target; empty where none is known.
func (e *Exceptions) reason(target, spec string) (reason string, ofHost bool) {
	for _, exception := range e.Host {
		if exception.pattern.MatchString(spec) {
			return exception.Reason, true
		}
	}
	if target != tenantTarget {
		return "", false
	}
	for _, exception := range e.Tenant {
		if exception.pattern.MatchString(spec) {
			return exception.Reason, false
		}
	}
	return "", false
}

// ofTenant reports whether a spec is one that a tenant on shared nodes cannot have.
func (e *Exceptions) ofTenant(target, spec string) bool {
	reason, ofHost := e.reason(target, spec)
	return target == tenantTarget && reason != "" && !ofHost
}
