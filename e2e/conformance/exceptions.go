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
			var err error
			if e.pattern, err = ReadReason("specs", e.Specs, e.Reason); err != nil {
				return nil, fmt.Errorf("exceptions.yaml: %w", err)
			}
		}
	}
	return out, nil
}

// ReadReason checks an entry of a file of reasons, and returns what matches the whole names
// that its expression, in the field, is for.
func ReadReason(field, expression, reason string) (*regexp.Regexp, error) {
	if expression == "" || reason == "" {
		return nil, fmt.Errorf("%s %q, reason %q: %s and reason are needed", field, expression, reason, field)
	}
	pattern, err := regexp.Compile("^(?:" + expression + ")$")
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", field, expression, err)
	}
	return pattern, nil
}

// find is the reason for a spec; empty where there is none.
func find(list []Exception, spec string) string {
	for _, exception := range list {
		if exception.pattern.MatchString(spec) {
			return exception.Reason
		}
	}
	return ""
}

// reason why a spec fails on a target; empty where none is known.
func (e *Exceptions) reason(target, spec string) (reason string, ofHost bool) {
	if reason := find(e.Host, spec); reason != "" {
		return reason, true
	}
	if target == Tenant {
		return find(e.Tenant, spec), false
	}
	return "", false
}

// ofTenant reports whether a spec is one that a tenant on shared nodes cannot have.
func (e *Exceptions) ofTenant(target, spec string) bool {
	reason, ofHost := e.reason(target, spec)
	return reason != "" && !ofHost
}
