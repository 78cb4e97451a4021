package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	authenticationHead = "apiServer:\n  authentication:\n    apiVersion: apiserver.config.k8s.io/v1\n    kind: AuthenticationConfiguration\n"
	auditHead          = "apiServer:\n  audit:\n    policy:\n      apiVersion: audit.k8s.io/v1\n      kind: Policy\n"
	goodIssuer         = `    jwt: [{issuer: {url: "https://id.example", audiences: [a]}, claimMappings: {username: {claim: sub, prefix: "id:"}}}]` + "\n"
)

func complete(t *testing.T, file string, args ...string) (Completed, error) {
	t.Helper()
	c, err := load(t, head+file, nil, append(args, "--tenant=team-a", "--host-namespace=tenants")...)
	if err != nil {
		return Completed{}, err
	}
	return c.Complete()
}

func TestBadDocumentsNameTheField(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ file, want string }{
		"another kind": {"apiServer: {authentication: {apiVersion: apiserver.config.k8s.io/v1, kind: AuthorizationConfiguration}}\n",
			`apiServer.authentication.kind: "AuthorizationConfiguration": want AuthenticationConfiguration`},
		"no kind": {"apiServer: {authentication: {apiVersion: apiserver.config.k8s.io/v1}}\n",
			`apiServer.authentication.kind: "": want AuthenticationConfiguration`},
		"a version that there is not": {"apiServer: {authentication: {apiVersion: apiserver.config.k8s.io/v7, kind: AuthenticationConfiguration}}\n",
			`apiServer.authentication.apiVersion: "apiserver.config.k8s.io/v7" is not one that this version reads`},
		"an unknown field": {authenticationHead + "    jwt: [{issuer: {urll: x}}]\n",
			`apiServer.authentication.jwt[0].issuer.urll: unknown field`},
		"a list for a mapping": {authenticationHead + "    jwt: [{issuer: []}]\n",
			`apiServer.authentication.jwt.issuer: want a mapping, found array`},
		"an issuer without TLS": {authenticationHead + strings.Replace(goodIssuer, "https", "http", 1),
			`apiServer.authentication.jwt[0].issuer.url: Invalid value: "http://id.example": URL scheme must be https`},
		"an issuer that is the tenant": {authenticationHead + strings.Replace(goodIssuer, "id.example", "kubernetes.default.svc.cluster.local", 1),
			`apiServer.authentication.jwt[0].issuer.url: Invalid value: "https://kubernetes.default.svc.cluster.local": URL must not overlap with disallowed issuers: [https://kubernetes.default.svc.cluster.local]`},
		"probes that are locked out": {authenticationHead + goodIssuer + "    anonymous: {enabled: false}\n",
			`apiServer.authentication.anonymous: the host's probes are anonymous: enabled must be true, and conditions, if there are any, must have the path /livez; ` +
				`apiServer.authentication.anonymous: the host's probes are anonymous: enabled must be true, and conditions, if there are any, must have the path /readyz`},
		"one probe that is locked out": {authenticationHead + goodIssuer + "    anonymous: {enabled: true, conditions: [{path: /livez}]}\n",
			`apiServer.authentication.anonymous: the host's probes are anonymous: enabled must be true, and conditions, if there are any, must have the path /readyz`},
		"a level that there is not": {auditHead + "      rules: [{level: Everything}]\n",
			`apiServer.audit.policy.rules[0].level: Unsupported value: "Everything": supported values: "None", "Metadata", "Request", "RequestResponse"`},
		"a policy without rules": {auditHead, `apiServer.audit.policy.rules: is empty: nothing would be recorded`},
		"a misspelt rule":        {auditHead + "      rules: [{level: Metadata, user: [a]}]\n", `apiServer.audit.policy.rules[0].user: unknown field`},
		"a log without a policy": {"apiServer: {audit: {log: stdout}}\n", `apiServer.audit.policy: is required with log or webhook: it says what is recorded`},
		"events that go nowhere": {auditHead + "      rules: [{level: Metadata}]\n    log: none\n", `apiServer.audit.log: is none, and there is no webhook: nothing would be recorded`},
		"a log outside the data": {auditHead + "      rules: [{level: Metadata}]\n    log: /var/log/audit.log\n",
			`apiServer.audit.log: "/var/log/audit.log" is neither stdout nor none nor a file in the data directory /var/lib/nestling`},
		"two places for the keys": {"apiServer: {encryption: {secret: a, file: /b}}\n", `apiServer.encryption: secret and file are both set: one of them is the file`},
		"a Secret that cannot be": {"apiServer: {encryption: {secret: A_b}}\n", `apiServer.encryption.secret: "A_b" is not the name of a Secret`},
		"a relative file":         {"apiServer: {encryption: {file: keys}}\n", `apiServer.encryption.file: "keys" is not an absolute path`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := complete(t, test.file)
			require.EqualError(t, err, "config: "+test.want)
		})
	}
}

// A mistake in a file of keys is told without a key.
func TestBadEncryptionConfigurations(t *testing.T) {
	t.Parallel()
	const start = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n"
	for name, test := range map[string]struct{ content, want string }{
		"a key that is too short": {start + "resources: [{resources: [secrets], providers: [{aescbc: {keys: [{name: a, secret: c2VjcmV0}]}}]}]\n",
			`apiServer.encryption.resources[0].providers[0].aescbc.keys[0].secret: Invalid value: "REDACTED": secret is not of the expected length, got 6, expected one of [16 24 32] (in FILE)`},
		"a misspelt provider": {start + "resources: [{resources: [secrets], providers: [{aes: {keys: [{name: a, secret: c2VjcmV0}]}}]}]\n",
			`apiServer.encryption.resources[0].providers[0].aes: unknown field (in FILE)`},
		"something else": {"c2VjcmV0\n", `apiServer.encryption: FILE: is no YAML mapping`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "keys")
			require.NoError(t, os.WriteFile(path, []byte(test.content), 0o600))
			completed, err := complete(t, "", "--encryption-file="+path)
			require.NoError(t, err)
			err = completed.CheckFiles()
			require.ErrorContains(t, err, "config: "+strings.ReplaceAll(test.want, "FILE", path))
			require.NotContains(t, err.Error(), "c2VjcmV0")
		})
	}
	completed, err := complete(t, "", "--encryption-secret=keys")
	require.NoError(t, err)
	require.EqualError(t, completed.CheckFiles(), "config: apiServer.encryption: open /etc/nestling-secrets/encryption/encryption.yaml: no such file or directory")
}

// Whoever runs an issuer makes nobody of the system's, whatever its document says.
func TestEveryIssuerIsKeptFromReservedNames(t *testing.T) {
	t.Parallel()
	completed, err := complete(t, authenticationHead+strings.Replace(goodIssuer, "claimMappings",
		`userValidationRules: [{expression: "user.username != 'id:root'", message: not root}], claimMappings`, 1))
	require.NoError(t, err)
	var out struct {
		JWT []struct {
			UserValidationRules []struct{ Expression string }
		}
	}
	require.NoError(t, json.Unmarshal(completed.AuthenticationDocument(), &out))
	require.Len(t, out.JWT, 1)
	require.Len(t, out.JWT[0].UserValidationRules, 2)
	require.Equal(t, "user.username != 'id:root'", out.JWT[0].UserValidationRules[0].Expression)
	require.Equal(t, reservedNames, out.JWT[0].UserValidationRules[1].Expression)
	require.Len(t, completed.APIServer.Authentication["jwt"].([]any)[0].(map[string]any)["userValidationRules"], 1, "the configuration stays as it was")
}

func TestDocumentsByFlag(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	require.NoError(t, os.WriteFile(path, []byte("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n"), 0o600))
	completed, err := complete(t, "", "--audit-policy="+path)
	require.NoError(t, err)
	require.JSONEq(t, `{"apiVersion":"audit.k8s.io/v1","kind":"Policy","rules":[{"level":"Metadata"}]}`, string(completed.AuditPolicy()))
	require.Equal(t, "-", completed.AuditLog(), "where events go that nobody sent elsewhere")
	completed, err = complete(t, "", "--audit-policy="+path, "--audit-webhook-secret=siem")
	require.NoError(t, err)
	require.Empty(t, completed.AuditLog())
}
