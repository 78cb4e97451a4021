package config

import (
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/apis/apiserver"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

// CheckFiles reads the files that the configuration names, so that a mistake in one of them is told as one in the
// configuration is, and before anything was started.
func (c *completed) CheckFiles() error {
	var problems []Problem
	if path := c.AuditWebhookFile(); path != "" {
		if _, err := clientcmd.LoadFromFile(path); err != nil {
			problems = append(problems, Problem{"apiServer.audit.webhook", fmt.Sprintf("%s: %v", path, err)})
		}
	}
	problems = append(problems, c.encryptionProblems()...)
	if len(problems) > 0 {
		return &Error{Problems: problems}
	}
	return nil
}

// encryptionProblems are those of the EncryptionConfiguration, as upstream would find them at its start. Its values are
// keys: none is in a message.
func (c *completed) encryptionProblems() []Problem {
	const field = "apiServer.encryption"
	path := c.EncryptionFile()
	if path == "" {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return []Problem{{field, err.Error()}}
	}
	document := Document{}
	if err := yaml.UnmarshalStrict(data, &document); err != nil {
		return []Problem{{field, fmt.Sprintf("%s: is no YAML mapping", path)}}
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{apiserver.AddToScheme, apiserverv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return []Problem{{field, err.Error()}}
		}
	}
	read := &apiserver.EncryptionConfiguration{}
	problems := document.decode(field, scheme, read)
	if len(problems) == 0 {
		problems = fieldProblems(field, validation.ValidateEncryptionConfiguration(read, true))
	}
	for i := range problems {
		problems[i].Detail = fmt.Sprintf("%s (in %s)", problems[i].Detail, path)
	}
	return problems
}
