package config

import (
	"fmt"
	"path/filepath"

	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/apis/audit/validation"
	"k8s.io/apiserver/pkg/audit"
)

// Audit is the record of who asked what of the tenant's API.
type Audit struct {
	// Policy is upstream's Policy (audit.k8s.io/v1); without one nothing is recorded.
	Policy Document `json:"policy,omitempty"`
	// Log is where events go, one JSON object in a line: AuditStdout, AuditNone, or a file in the data directory, which
	// is rotated. Empty is AuditStdout, unless there is a webhook.
	Log string `json:"log,omitempty"`
	// Webhook gets the events in batches; it is a kubeconfig, which says where that is and how to reach it.
	Webhook SecretFile `json:"webhook,omitzero"`
}

const (
	// AuditStdout is where nothing else goes: the process's own log is on stderr.
	AuditStdout = "stdout"
	AuditNone   = "none"
)

// auditProblems are those of apiServer.audit, as upstream would find them at its start, and what would go nowhere.
func (c *Config) auditProblems() []Problem {
	const path = "apiServer.audit"
	in := c.APIServer.Audit
	var problems []Problem
	if len(in.Policy) > 0 {
		read := &auditinternal.Policy{}
		problems = in.Policy.decode(path+".policy", audit.Scheme, read)
		if len(problems) == 0 {
			problems = fieldProblems(path+".policy", validation.ValidatePolicy(read))
			if len(read.Rules) == 0 {
				problems = append(problems, Problem{path + ".policy.rules", "is empty: nothing would be recorded"})
			}
		}
	} else if in.Log != "" || in.Webhook.given() {
		problems = append(problems, Problem{path + ".policy", "is required with log or webhook: it says what is recorded"})
	}
	switch {
	case in.Log == "", in.Log == AuditStdout, in.Log == AuditNone && in.Webhook.given():
	case in.Log == AuditNone:
		problems = append(problems, Problem{path + ".log", "is none, and there is no webhook: nothing would be recorded"})
	case filepath.Dir(in.Log) != filepath.Clean(c.DataDir):
		problems = append(problems, Problem{path + ".log", fmt.Sprintf("%q is neither %s nor %s nor a file in the data directory %s", in.Log, AuditStdout, AuditNone, c.DataDir)})
	}
	return append(problems, in.Webhook.problems(path+".webhook")...)
}

// AuditPolicy is the file for the API server; nil if nothing is to be recorded.
func (c *completed) AuditPolicy() []byte {
	if len(c.APIServer.Audit.Policy) == 0 {
		return nil
	}
	return c.APIServer.Audit.Policy.bytes()
}

// AuditLog is the path of the log, in the API server's words: "-" is its standard output. Empty: there is none.
func (c *completed) AuditLog() string {
	in := c.APIServer.Audit
	switch {
	case len(in.Policy) == 0, in.Log == AuditNone, in.Log == "" && in.Webhook.given():
		return ""
	case in.Log == "", in.Log == AuditStdout:
		return "-"
	}
	return in.Log
}
