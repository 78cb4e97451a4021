package controlplane_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/controlplane/controlplanetest"
)

// passed is an API server that was given documents of each sort by a configuration.
type passed struct {
	*controlplanetest.Server
	client     kubernetes.Interface
	issuer     *issuer
	auditLog   string
	encryption string

	mu       sync.Mutex
	webhooks []auditv1.Event
}

func newPassed(t *testing.T) *passed {
	t.Helper()
	dir := t.TempDir()
	p := &passed{issuer: newIssuer(t), auditLog: filepath.Join(dir, "audit.log"), encryption: filepath.Join(dir, "encryption.yaml")}
	p.encrypt(t, "first")
	c := config.Default()
	c.Tenant, c.Host.Namespace, c.DataDir = "team-a", "tenants", dir
	c.APIServer.Authentication = config.Document{
		"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
		"jwt": []any{map[string]any{
			"issuer": map[string]any{"url": p.issuer.server.URL, "certificateAuthority": p.issuer.ca(), "audiences": []any{"nestling"}},
			// Without prefixes: the issuer says the whole name.
			"claimMappings": map[string]any{
				"username": map[string]any{"claim": "sub", "prefix": ""}, "groups": map[string]any{"claim": "groups", "prefix": ""},
			},
		}},
	}
	c.APIServer.Audit = config.Audit{
		Policy: config.Document{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": []any{
			map[string]any{"level": "Metadata", "omitStages": []any{"RequestReceived"}, "resources": []any{map[string]any{"group": "", "resources": []any{"configmaps"}}}},
		}},
		Log: p.auditLog, Webhook: config.SecretFile{File: p.webhook(t, dir)},
	}
	c.APIServer.Encryption.File = p.encryption
	completed, err := c.Complete()
	require.NoError(t, err)
	require.NoError(t, completed.CheckFiles())
	p.Server = controlplanetest.Start(t, controlplanetest.Options{Configure: func(opts *controlplane.APIServerOptions) {
		opts.Passthrough = controlplane.Passthrough{
			Authentication: completed.AuthenticationDocument(), AuditPolicy: completed.AuditPolicy(), AuditLog: completed.AuditLog(),
			AuditWebhook: completed.AuditWebhookFile(), Encryption: completed.EncryptionFile(),
		}
		opts.ExtraArgs = map[string]string{"audit-webhook-batch-max-wait": "100ms"} // upstream's is 30 s
	}})
	p.client, err = kubernetes.NewForConfig(p.Config)
	require.NoError(t, err)
	return p
}

// encrypt writes an EncryptionConfiguration that has one key.
func (p *passed) encrypt(t *testing.T, key string) {
	t.Helper()
	require.NoError(t, os.WriteFile(p.encryption, []byte(fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - secretbox: {keys: [{name: %s, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}]}
`, key)), 0o600))
}

// webhook takes audit events; the result is the kubeconfig for it.
func (p *passed) webhook(t *testing.T, dir string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		var list auditv1.EventList
		if json.NewDecoder(request.Body).Decode(&list) == nil {
			p.mu.Lock()
			p.webhooks = append(p.webhooks, list.Items...)
			p.mu.Unlock()
		}
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(dir, "webhook")
	kubeconfig := clientcmdapi.NewConfig()
	kubeconfig.Clusters["siem"] = &clientcmdapi.Cluster{Server: server.URL}
	kubeconfig.Contexts["siem"] = &clientcmdapi.Context{Cluster: "siem"}
	kubeconfig.CurrentContext = "siem"
	require.NoError(t, clientcmd.WriteToFile(*kubeconfig, file))
	return file
}

// as is a client with a token.
func (p *passed) as(t *testing.T, token string) kubernetes.Interface {
	t.Helper()
	config := rest.AnonymousClientConfig(p.Config)
	config.BearerToken = token
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	return client
}

func whoami(ctx context.Context, client kubernetes.Interface) (authenticationv1.UserInfo, error) {
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return authenticationv1.UserInfo{}, err
	}
	return review.Status.UserInfo, nil
}

func TestUpstreamsDocumentsPassThrough(t *testing.T) {
	t.Parallel()
	p := newPassed(t)
	t.Run("an issuer's token logs a user in", p.logsIn)
	t.Run("an issuer makes nobody of the system's", p.reservesNames)
	t.Run("certificates, ServiceAccounts and probes go on", p.othersGoOn)
	t.Run("a request is recorded with its user", p.records)
	t.Run("a Secret lies encrypted in etcd, and another server reads it", p.encrypts)
}

func (p *passed) logsIn(t *testing.T) {
	// The server learns the issuer's keys when it has started.
	controlplanetest.Eventually(t, "log in with a token", func(ctx context.Context) (string, error) {
		user, err := whoami(ctx, p.as(t, p.issuer.token(t, map[string]any{"sub": "jane", "groups": []string{"developers"}})))
		if err == nil && (user.Username != "jane" || !slices.Contains(user.Groups, "developers")) {
			return fmt.Sprintf("the user is %v", user), nil
		}
		return "", err
	})
	user, err := whoami(t.Context(), p.as(t, p.issuer.token(t, map[string]any{"sub": "of-no-group"})))
	require.NoError(t, err)
	require.Equal(t, "of-no-group", user.Username)
	_, err = whoami(t.Context(), p.as(t, p.issuer.token(t, map[string]any{"sub": "jane", "aud": "somebody else"})))
	require.True(t, apierrors.IsUnauthorized(err), "%v", err)
	_, err = whoami(t.Context(), p.as(t, newIssuer(t).token(t, map[string]any{"iss": p.issuer.server.URL, "sub": "jane"})))
	require.True(t, apierrors.IsUnauthorized(err), "signed by another: %v", err)
}

func (p *passed) reservesNames(t *testing.T) {
	for name, claims := range map[string]map[string]any{
		"a user of the system's":    {"sub": "system:admin"},
		"a group of the system's":   {"sub": "jane", "groups": []string{"developers", "system:masters"}},
		"a ServiceAccount":          {"sub": "system:serviceaccount:kube-system:default"},
		"a component of Nestling's": {"sub": "nestling:syncer"},
	} {
		_, err := whoami(t.Context(), p.as(t, p.issuer.token(t, claims)))
		require.True(t, apierrors.IsUnauthorized(err), "%s: %v", name, err)
	}
}

func (p *passed) othersGoOn(t *testing.T) {
	user, err := whoami(t.Context(), p.client)
	require.NoError(t, err)
	require.Equal(t, "test-admin", user.Username)

	account, err := p.client.CoreV1().ServiceAccounts("default").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	token, err := p.client.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), account.Name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	require.NoError(t, err)
	user, err = whoami(t.Context(), p.as(t, token.Status.Token))
	require.NoError(t, err)
	require.Equal(t, "system:serviceaccount:default:robot", user.Username)

	require.NoError(t, p.as(t, "").CoreV1().RESTClient().Get().AbsPath("/livez").Do(t.Context()).Error(), "nobody asks whether it lives")
}

func (p *passed) records(t *testing.T) {
	config, err := p.API.ClientConfig("jane", "system:masters")
	require.NoError(t, err)
	jane, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	_, err = jane.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "recorded"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	isIt := func(event auditv1.Event) bool {
		return event.User.Username == "jane" && event.Verb == "create" && event.ObjectRef != nil && event.ObjectRef.Name == "recorded"
	}
	controlplanetest.Eventually(t, "find the request in the log", func(context.Context) (string, error) {
		file, err := os.Open(p.auditLog)
		if err != nil {
			return "", err
		}
		defer file.Close()
		for lines := bufio.NewScanner(file); lines.Scan(); {
			var event auditv1.Event
			if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
				return "", err
			}
			if isIt(event) {
				return "", nil
			}
		}
		return "it is not there", nil
	})
	controlplanetest.Eventually(t, "send the request to the webhook", func(context.Context) (string, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !slices.ContainsFunc(p.webhooks, isIt) {
			return fmt.Sprintf("it is not among %d events", len(p.webhooks)), nil
		}
		return "", nil
	})
}

func (p *passed) encrypts(t *testing.T) {
	const password = "correct horse battery staple"
	_, err := p.client.CoreV1().Secrets("default").Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "kept"}, StringData: map[string]string{"password": password},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	raw, err := p.Get(t.Context(), "secrets/default/kept")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(raw), "k8s:enc:secretbox:v1:first:"), "it begins with %q", raw[:min(len(raw), 30)])
	require.NotContains(t, string(raw), password)

	// A server that starts on the same data, as after a restart, knows it by the same file.
	other := controlplanetest.Start(t, controlplanetest.Options{Configure: func(opts *controlplane.APIServerOptions) {
		opts.EtcdEndpoint, opts.Passthrough.Encryption = p.Etcd(), p.encryption
	}})
	client, err := kubernetes.NewForConfig(other.Config)
	require.NoError(t, err)
	secret, err := client.CoreV1().Secrets("default").Get(t.Context(), "kept", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, password, string(secret.Data["password"]))
}
