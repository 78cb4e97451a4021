package entry

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// stored is a kubeconfig as the host keeps it.
func stored(t *testing.T, change func(*clientcmdapi.Cluster, *clientcmdapi.AuthInfo, *clientcmdapi.Config)) []byte {
	t.Helper()
	cluster := &clientcmdapi.Cluster{Server: "https://team-a.tenants.svc:443", CertificateAuthorityData: []byte("authority")}
	user := &clientcmdapi.AuthInfo{ClientCertificateData: []byte("certificate"), ClientKeyData: []byte("key")}
	config := clientcmdapi.NewConfig()
	config.Clusters["team-a"], config.AuthInfos["nestling:admin"] = cluster, user
	config.Contexts["team-a"] = &clientcmdapi.Context{Cluster: "team-a", AuthInfo: "nestling:admin"}
	config.CurrentContext = "team-a"
	if change != nil {
		change(cluster, user, config)
	}
	content, err := clientcmd.Write(*config)
	require.NoError(t, err)
	return content
}

func TestKubeconfigOfATunnel(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*clientcmdapi.Cluster, *clientcmdapi.AuthInfo, *clientcmdapi.Config)
		want   string
	}{
		"by the name of the Service": {nil, "team-a.tenants.svc"},
		"by an address": {func(c *clientcmdapi.Cluster, _ *clientcmdapi.AuthInfo, _ *clientcmdapi.Config) {
			c.Server = "https://192.0.2.7:8443"
		}, "192.0.2.7"},
		"by the name that it gave itself": {func(c *clientcmdapi.Cluster, _ *clientcmdapi.AuthInfo, _ *clientcmdapi.Config) {
			c.TLSServerName = "api.example"
		}, "api.example"},
		"without its proxy": {func(c *clientcmdapi.Cluster, _ *clientcmdapi.AuthInfo, _ *clientcmdapi.Config) {
			c.ProxyURL = "http://proxy.example"
		}, "team-a.tenants.svc"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parsed, err := Parse(stored(t, test.change))
			require.NoError(t, err)
			content, err := parsed.Via("127.0.0.1:4711")
			require.NoError(t, err)
			got, err := clientcmd.Load(content)
			require.NoError(t, err)
			cluster := got.Clusters["team-a"]
			require.Equal(t, "https://127.0.0.1:4711", cluster.Server)
			require.Equal(t, test.want, cluster.TLSServerName)
			require.Equal(t, "authority", string(cluster.CertificateAuthorityData))
			require.False(t, cluster.InsecureSkipTLSVerify)
			require.Empty(t, cluster.ProxyURL)
			require.Equal(t, "key", string(got.AuthInfos["nestling:admin"].ClientKeyData))
		})
	}
}

// Who can write the Secret of a tenant cannot do anything to those who use it.
func TestKubeconfigsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*clientcmdapi.Cluster, *clientcmdapi.AuthInfo, *clientcmdapi.Config)
		want   string
	}{
		"that run a program": {func(_ *clientcmdapi.Cluster, u *clientcmdapi.AuthInfo, _ *clientcmdapi.Config) {
			u.Exec = &clientcmdapi.ExecConfig{Command: "/bin/sh", APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: clientcmdapi.NeverExecInteractiveMode}
		}, "users.user.exec"},
		"that use a plugin": {func(_ *clientcmdapi.Cluster, u *clientcmdapi.AuthInfo, _ *clientcmdapi.Config) {
			u.AuthProvider = &clientcmdapi.AuthProviderConfig{Name: "x"}
		}, "users.user.auth-provider"},
		"that read a file of ours": {func(_ *clientcmdapi.Cluster, u *clientcmdapi.AuthInfo, _ *clientcmdapi.Config) {
			u.TokenFile = "/var/run/secrets/kubernetes.io/serviceaccount/token"
		}, "users.user.tokenFile"},
		"that send a key of ours": {func(_ *clientcmdapi.Cluster, u *clientcmdapi.AuthInfo, _ *clientcmdapi.Config) {
			u.ClientKeyData, u.ClientKey = nil, "/root/key"
		}, "users.user.client-key"},
		"that trust anybody": {func(c *clientcmdapi.Cluster, _ *clientcmdapi.AuthInfo, _ *clientcmdapi.Config) {
			c.CertificateAuthorityData, c.InsecureSkipTLSVerify = nil, true
		}, "clusters.cluster.insecure-skip-tls-verify"},
		"that trust the whole world's authorities": {func(c *clientcmdapi.Cluster, _ *clientcmdapi.AuthInfo, _ *clientcmdapi.Config) {
			c.CertificateAuthorityData = nil
		}, "no clusters.cluster.certificate-authority-data"},
		"without TLS": {func(c *clientcmdapi.Cluster, _ *clientcmdapi.AuthInfo, _ *clientcmdapi.Config) {
			c.Server = "http://team-a.tenants.svc"
		}, "no https URL"},
		"without a context": {func(_ *clientcmdapi.Cluster, _ *clientcmdapi.AuthInfo, c *clientcmdapi.Config) {
			c.CurrentContext = "x"
		}, "no current context"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse(stored(t, test.change))
			require.ErrorContains(t, err, test.want)
		})
	}
	_, err := Parse([]byte("no: [yaml"))
	require.Error(t, err)
}

// The tenant's own address is taken only if the tenant is there.
func TestOwnAddress(t *testing.T) {
	t.Parallel()
	var credentials bool
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		credentials = credentials || r.Header.Get("Authorization") != "" || len(r.TLS.PeerCertificates) > 0
		w.WriteHeader(http.StatusUnauthorized)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	other := httptest.NewTLSServer(nil)
	other.Close()

	for name, test := range map[string]struct {
		change func(*clientcmdapi.Cluster)
		force  bool
		direct bool
	}{
		"that answers":                    {func(*clientcmdapi.Cluster) {}, false, true},
		"that answers, and is not wanted": {func(*clientcmdapi.Cluster) {}, true, false},
		"where somebody else answers":     {func(c *clientcmdapi.Cluster) { c.TLSServerName = "team-a.tenants.svc" }, false, false},
		"that does not answer":            {func(c *clientcmdapi.Cluster) { c.Server = other.URL }, false, false},
		"that does not exist":             {func(c *clientcmdapi.Cluster) { c.Server = "https://team-a.tenants.invalid" }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			parsed, err := Parse(stored(t, func(c *clientcmdapi.Cluster, u *clientcmdapi.AuthInfo, _ *clientcmdapi.Config) {
				c.Server, c.CertificateAuthorityData = server.URL, authority
				u.ClientCertificateData, u.ClientKeyData, u.Token = nil, nil, "secret"
				test.change(c)
			}))
			require.NoError(t, err)
			way, err := Open(t.Context(), Options{Host: &rest.Config{Host: other.URL}, Tenant: "team-a", Namespace: "tenants", Kubeconfig: parsed, Tunnel: test.force})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, way.Close()) })
			require.Equal(t, test.direct, way.Tunnel == "")
			want := server.URL
			if !test.direct {
				want = "https://" + way.Tunnel
			}
			require.Contains(t, string(way.Kubeconfig), "server: "+want+"\n")
		})
	}
	require.False(t, credentials, "a probe shows none")
}

func TestTemporaryFile(t *testing.T) {
	base := t.TempDir()
	t.Setenv("TMPDIR", base)
	file, err := Temporary("team-a", []byte("content"))
	require.NoError(t, err)
	info, err := os.Stat(file.Path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	info, err = os.Stat(filepath.Dir(file.Path))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	content, err := os.ReadFile(file.Path)
	require.NoError(t, err)
	require.Equal(t, "content", string(content))
	require.NoError(t, file.Remove())
	left, err := os.ReadDir(base)
	require.NoError(t, err)
	require.Empty(t, left)

	t.Setenv("TMPDIR", filepath.Join(base, "missing"))
	_, err = Temporary("team-a", nil)
	require.ErrorContains(t, err, "directory for the temporary kubeconfig")
}
