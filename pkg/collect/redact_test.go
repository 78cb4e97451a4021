package collect

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const token = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJpc3MiOiJuZXN0bGluZyJ9.c2lnbmF0dXJl"

func TestRedactText(t *testing.T) {
	t.Parallel()
	key := "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----"
	certificate := base64.StdEncoding.EncodeToString([]byte("-----BEGIN CERTIFICATE-----\nMIIEpAIBAAKCAQEA\n"))
	for name, test := range map[string]struct{ in, want string }{
		"a token":                       {"got " + token + " from x", "got <redacted: 72 bytes> from x"},
		"a header":                      {"Authorization: Bearer 0123456789abcdef", "Authorization: Bearer <redacted: 16 bytes>"},
		"a private key":                 {"a " + key + " b", "a <redacted: 78 bytes> b"},
		"a private key that is cut":     {"a -----BEGIN PRIVATE KEY-----\nMIIE", "a <redacted: 32 bytes>"},
		"a private key within base64":   {"key: " + base64.StdEncoding.EncodeToString([]byte(key)), "key: <redacted: 104 bytes>"},
		"not a certificate":             {"ca: " + certificate, "ca: " + certificate},
		"a password in a URL":           {"postgres://app:s3cr3t@db:5432/x", "postgres://app:<redacted: 6 bytes>@db:5432/x"},
		"a URL without one":             {"https://registry.example:5000/x@sha256:0", "https://registry.example:5000/x@sha256:0"},
		"a flag":                        {"run --db-password=hunter22 --port=80", "run --db-password=<redacted: 8 bytes> --port=80"},
		"a line of YAML":                {"user: me\npassword: hunter22\nport: 1", "user: me\npassword: <redacted: 8 bytes>\nport: 1"},
		"a member of JSON":              {`{"apiKey":"0123456789","x":1}`, `{"apiKey":"<redacted: 10 bytes>","x":1}`},
		"a query":                       {"GET /x?access_token=0123456789&y=1", "GET /x?access_token=<redacted: 10 bytes>&y=1"},
		"a key of a cloud":              {"id AKIAIOSFODNN7EXAMPLE.", "id <redacted: 20 bytes>."},
		"the name of a Secret":          {`secret "db-credentials" not found`, `secret "db-credentials" not found`},
		"a mount of a token":            {"MountVolume.SetUp failed for volume \"kube-api-access\"", "MountVolume.SetUp failed for volume \"kube-api-access\""},
		"an innocent line of a program": {"I1127 listening on :8443 tokens=7", "I1127 listening on :8443 tokens=7"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, redactText(test.in))
			require.Equal(t, test.want, redactText(test.want), "once is enough")
		})
	}
}

func TestNamesOfSecrets(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"password", "DB_PASSWORD", "dbPassword", "POSTGRES_PASS", "token", "GITHUB_TOKEN", "--api-key", "apiKey", "AWS_SECRET_ACCESS_KEY",
		"clientSecret", "client_secret", "privateKey", "DATABASE_DSN", "SECRET_KEY_BASE64", "password2", "slackWebhookUrl", "connectionString", "session-id"} {
		require.True(t, isSecret(name), name)
	}
	for _, name := range []string{"name", "secretName", "secretKeyRef", "publicKey", "tokenExpirationSeconds", "passwordPolicy", "key", "keyFile", "serviceAccountName", "SECRET_NAME", "image", "monkey", "tokenReviewer"} {
		require.False(t, isSecret(name), name)
	}
}

func TestRedactObjects(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ in, want string }{
		"a Secret": {
			`{apiVersion: v1, kind: Secret, metadata: {name: a, managedFields: [{}], annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"data":{"a":"aHVudGVyMjI="}}', x: y}}, data: {a: aHVudGVyMjI=}, stringData: {b: hunter22}, type: Opaque}`,
			`{apiVersion: v1, kind: Secret, metadata: {name: a, annotations: {kubectl.kubernetes.io/last-applied-configuration: '<redacted: 29 bytes>', x: y}}, data: {a: '<redacted: 12 bytes>'}, stringData: {b: '<redacted: 8 bytes>'}, type: Opaque}`,
		},
		"variables, arguments and references": {
			`{kind: Pod, spec: {containers: [{args: [--password, hunter22, --token=hunter22, -v, '2'], env: [{name: DB_PASSWORD, value: hunter22}, {name: LEVEL, value: info}, {name: API_TOKEN, valueFrom: {secretKeyRef: {name: a, key: token}}}]}]}}`,
			`{kind: Pod, spec: {containers: [{args: [--password, '<redacted: 8 bytes>', '--token=<redacted: 8 bytes>', -v, '2'], env: [{name: DB_PASSWORD, value: '<redacted: 8 bytes>'}, {name: LEVEL, value: info}, {name: API_TOKEN, valueFrom: {secretKeyRef: {name: a, key: token}}}]}]}}`,
		},
		"fields of a kind that we do not know": {
			`{kind: Database, spec: {adminPassword: hunter22, secretName: db, size: 3, users: [{user: a, token: hunter22}], url: 'mysql://a:hunter22@db/x'}}`,
			`{kind: Database, spec: {adminPassword: '<redacted: 8 bytes>', secretName: db, size: 3, users: [{user: a, token: '<redacted: 8 bytes>'}], url: 'mysql://a:<redacted: 8 bytes>@db/x'}}`,
		},
		"a ConfigMap with a file": {
			`{apiVersion: v1, kind: ConfigMap, data: {app.ini: "user = a\npassword = hunter22\n"}}`,
			`{apiVersion: v1, kind: ConfigMap, data: {app.ini: "user = a\npassword = <redacted: 8 bytes>\n"}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var in, want map[string]any
			require.NoError(t, yaml.Unmarshal([]byte(test.in), &in))
			require.NoError(t, yaml.Unmarshal([]byte(test.want), &want))
			object := &unstructured.Unstructured{Object: in}
			before := object.DeepCopy()
			require.Equal(t, want, redactObject(object))
			require.Equal(t, before, object, "what was given is not changed")
		})
	}
}

func FuzzRedactText(f *testing.F) {
	f.Add("password: hunter22 " + token)
	f.Fuzz(func(t *testing.T, text string) {
		once := redactText(text)
		require.NotContains(t, redactText(once+" "+token), token)
	})
}
