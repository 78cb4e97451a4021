package config

import (
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
)

// probePaths are asked by the host's kubelets, who are nobody to the tenant's API.
func probePaths() []string { return []string{"/livez", "/readyz"} }

// reservedNames is added to the userValidationRules of every issuer: whoever runs it makes users, but none that
// Kubernetes or this program trusts by its name alone. Rights are what RBAC gives to the issuer's own names.
const (
	reservedNames = `!user.username.startsWith('system:') && !user.username.startsWith('nestling:') && ` +
		`(!has(user.groups) || user.groups.all(group, !group.startsWith('system:')))`
	reservedNamesMessage = "names that begin with system: or nestling: are not for users of an issuer"
)

// serviceAccountIssuer signs the tenant's own tokens; no other issuer can have its name.
func (c *Config) serviceAccountIssuer() string {
	return "https://kubernetes.default.svc." + c.ClusterDomain
}

// authenticationProblems are those of apiServer.authentication, as upstream would find them at its start, and what of
// it would keep a tenant from working.
func (c *Config) authenticationProblems() []Problem {
	const path = "apiServer.authentication"
	if len(c.APIServer.Authentication) == 0 {
		return nil
	}
	scheme := runtime.NewScheme()
	install.Install(scheme)
	read := &apiserver.AuthenticationConfiguration{}
	if problems := c.APIServer.Authentication.decode(path, scheme, read); len(problems) > 0 {
		return problems
	}
	problems := fieldProblems(path, validation.ValidateAuthenticationConfiguration(
		authenticationcel.NewDefaultCompiler(), read, []string{c.serviceAccountIssuer()}))
	if anonymous := read.Anonymous; anonymous != nil {
		for _, probe := range probePaths() {
			allowed := anonymous.Enabled && (len(anonymous.Conditions) == 0 || slices.ContainsFunc(anonymous.Conditions,
				func(condition apiserver.AnonymousAuthCondition) bool { return condition.Path == probe }))
			if !allowed {
				problems = append(problems, Problem{path + ".anonymous", fmt.Sprintf(
					"the host's probes are anonymous: enabled must be true, and conditions, if there are any, must have the path %s", probe)})
			}
		}
	}
	return problems
}

// AuthenticationDocument is the file for the API server; nil without apiServer.authentication.
func (c *completed) AuthenticationDocument() []byte {
	if len(c.APIServer.Authentication) == 0 {
		return nil
	}
	var out Document
	if err := json.Unmarshal(c.APIServer.Authentication.bytes(), &out); err != nil { // a copy
		panic(err) // it was written a moment ago
	}
	issuers, _ := out["jwt"].([]any)
	for _, issuer := range issuers {
		issuer := issuer.(map[string]any) // it was validated
		rules, _ := issuer["userValidationRules"].([]any)
		issuer["userValidationRules"] = append(rules, map[string]any{"expression": reservedNames, "message": reservedNamesMessage})
	}
	return out.bytes()
}
