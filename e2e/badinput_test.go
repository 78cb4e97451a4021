package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"nestling.dev/nestling/e2e/stories"
	"nestling.dev/nestling/pkg/loopback"
)

// Exit codes are contract.
const (
	exitFailure  = 1
	exitBadInput = 2
)

// refusalPatience bounds a start that must fail, on a machine that is busy.
const refusalPatience = 3 * time.Minute

// serveCase is a start of the program that must fail, and say why in one line.
type serveCase struct {
	code int
	want string // in the line
	// arrange spoils something, and returns the flags that differ.
	arrange func(t *testing.T, s *serving) []string
	// late says that the fault shows only after the first lines of a log.
	late bool
}

// badInput starts the program against the host of w with everything that can be wrong.
func badInput(t *testing.T, binary string, w *stories.World) {
	good := newServing(t, binary, w, "bad-input")
	noExec := newServing(t, binary, w, "no-exec")
	role, err := w.Host.RbacV1().Roles(w.HostNamespace).Get(t.Context(), "no-exec", metav1.GetOptions{})
	require.NoError(t, err)
	for i, rule := range role.Rules {
		role.Rules[i].Resources = without(rule.Resources, "pods/exec")
	}
	_, err = w.Host.RbacV1().Roles(w.HostNamespace).Update(t.Context(), role, metav1.UpdateOptions{})
	require.NoError(t, err)

	for name, test := range map[string]serveCase{
		"a tenant name that is no DNS label": {code: exitBadInput, want: `config: tenant: "A_b" is not a DNS label`,
			arrange: func(*testing.T, *serving) []string { return []string{"--tenant=A_b"} }},
		"an unknown field": {code: exitBadInput, want: `config: sync.podz: unknown field`,
			arrange: func(t *testing.T, s *serving) []string {
				file := filepath.Join(s.dir, "config.yaml")
				require.NoError(t, os.WriteFile(file, []byte("apiVersion: nestling.dev/v1alpha1\nkind: Config\nsync: {podz: all}\n"), 0o600))
				return []string{"--config=" + file}
			}},
		"a nameserver by its name": {code: exitBadInput, want: `config: dns.upstream[0]: "dns.example" is not the address of a nameserver`,
			arrange: func(*testing.T, *serving) []string { return []string{"--dns-upstream=dns.example"} }},
		"an audit policy with a mistake": {code: exitBadInput, want: `config: apiServer.audit.policy.rules[0].verb: unknown field`,
			arrange: func(t *testing.T, s *serving) []string {
				file := filepath.Join(s.dir, "audit.yaml")
				require.NoError(t, os.WriteFile(file, []byte("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata, verb: [get]}]\n"), 0o600))
				return []string{"--audit-policy=" + file}
			}},
		"keys that are not there": {code: exitBadInput, want: `config: apiServer.encryption: open /nowhere/keys: no such file or directory`,
			arrange: func(*testing.T, *serving) []string { return []string{"--encryption-file=/nowhere/keys"} }},
		"no host namespace": {code: exitBadInput, want: "config: host.namespace: ",
			arrange: func(*testing.T, *serving) []string { return []string{"--host-namespace="} }},
		"a missing host namespace": {code: exitFailure, want: `host: namespace "nowhere" does not exist`,
			arrange: func(*testing.T, *serving) []string {
				return []string{"--host-namespace=nowhere", "--host-kubeconfig=" + w.HostKubeconfig}
			}},
		"manifests that were not applied": {code: exitFailure, want: `host: ConfigMap "nobody-anchor" is missing in namespace "` + w.HostNamespace + `"`,
			arrange: func(*testing.T, *serving) []string {
				return []string{"--tenant=nobody", "--host-kubeconfig=" + w.HostKubeconfig}
			}},
		"a missing right": {code: exitFailure, want: `host: ServiceAccount "no-exec" may not get pods/exec, create pods/exec in namespace "` + w.HostNamespace + `"`,
			arrange: func(*testing.T, *serving) []string {
				return []string{"--tenant=no-exec", "--host-kubeconfig=" + noExec.kubeconfig}
			}},
		"a data directory of another tenant": {code: exitFailure, want: "belongs to " + w.HostNamespace + "/somebody, not to " + w.HostNamespace + "/bad-input", late: true,
			arrange: func(t *testing.T, s *serving) []string {
				s.write(t, "etcd/owner", w.HostNamespace+"/somebody\n")
				return nil
			}},
		"a data directory that cannot be read": {code: exitFailure, want: "data/etcd: not a directory", late: true,
			arrange: func(t *testing.T, s *serving) []string {
				s.write(t, "etcd", "a file")
				return nil
			}},
		"data that is none": {code: exitFailure, want: "read database", late: true,
			arrange: func(t *testing.T, s *serving) []string {
				s.write(t, "etcd/member/snap/db", "no database")
				return nil
			}},
		"data of a newer version": {code: exitFailure, want: "was written by etcd 3.99; this is etcd 3.6.", late: true,
			arrange: func(t *testing.T, s *serving) []string {
				s.write(t, "etcd/member/snap/keep", "")
				writeNewerDatabase(t, filepath.Join(s.dir, "data/etcd/member/snap/db"))
				return nil
			}},
		"a port in use": {code: exitFailure, want: "is in use by another process",
			arrange: func(t *testing.T, s *serving) []string {
				listener, err := net.Listen("tcp4", "127.0.0.1:0")
				require.NoError(t, err)
				t.Cleanup(func() { _ = listener.Close() })
				return []string{"--port=" + strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)}
			}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // those that are the host's fault wait a few seconds for it
			s := good.in(t)
			flags := test.arrange(t, s)
			before := s.everything(t)
			code, said := s.serve(t, flags...)
			lines := strings.Split(strings.TrimSpace(said), "\n")
			last := lines[len(lines)-1]
			t.Log(last)
			require.Equal(t, test.code, code, said)
			require.True(t, strings.HasPrefix(last, "nestling: "), said)
			require.Contains(t, last, test.want)
			if !test.late {
				require.Len(t, lines, 1, "one line")
			}
			require.Equal(t, before, s.everything(t), "nothing half-made")
		})
	}
}

// serving is what a start needs: a tenant whose manifests were applied.
type serving struct {
	binary, tenant, kubeconfig string
	world                      *stories.World
	dir, port                  string
}

func newServing(t *testing.T, binary string, w *stories.World, tenant string) *serving {
	t.Helper()
	require.NoError(t, applyManifests(t.Context(), w.HostConfig, tenant))
	t.Cleanup(func() { require.NoError(t, deleteManifests(context.Background(), w.HostConfig, tenant)) })
	token, err := w.Host.CoreV1().ServiceAccounts(w.HostNamespace).CreateToken(t.Context(), tenant, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	require.NoError(t, err)
	config := rest.AnonymousClientConfig(w.HostConfig)
	config.BearerToken = token.Status.Token
	s := &serving{binary: binary, tenant: tenant, world: w, kubeconfig: filepath.Join(t.TempDir(), "host.kubeconfig")}
	require.NoError(t, writeKubeconfig(s.kubeconfig, config))
	return s
}

// in is the same with a directory of its own, short enough for a socket.
func (s *serving) in(t *testing.T) *serving {
	t.Helper()
	dir, err := os.MkdirTemp("", "nestling-bad-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	port, err := loopback.FreePort()
	require.NoError(t, err)
	out := *s
	out.dir, out.port = dir, strconv.Itoa(port)
	return &out
}

func (s *serving) write(t *testing.T, name, content string) {
	t.Helper()
	path := filepath.Join(s.dir, "data", name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

// serve runs the program until it ends.
func (s *serving) serve(t *testing.T, flags ...string) (code int, said string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), refusalPatience)
	defer cancel()
	command := exec.CommandContext(ctx, s.binary, append([]string{"serve",
		"--tenant=" + s.tenant, "--host-namespace=" + s.world.HostNamespace, "--host-kubeconfig=" + s.kubeconfig,
		"--data-dir=" + filepath.Join(s.dir, "data"), "--bind-address=127.0.0.1", "--port=" + s.port, "--advertise-address=198.19.255.2"}, flags...)...)
	command.Env = []string{"HOME=" + s.dir}
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	_ = command.Run()
	require.NoError(t, ctx.Err(), "the program goes on: %s", out.String())
	return command.ProcessState.ExitCode(), out.String()
}

// everything is the files of the start and the Secrets of the host namespace: what a
// start could leave half-made.
func (s *serving) everything(t *testing.T) []string {
	t.Helper()
	var out []string
	require.NoError(t, filepath.WalkDir(s.dir, func(path string, _ os.DirEntry, err error) error {
		if filepath.Base(path) != "lock" { // says nothing, and is locked by nobody
			out = append(out, path)
		}
		return err
	}))
	secrets, err := s.world.Host.CoreV1().Secrets(s.world.HostNamespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	for _, secret := range secrets.Items {
		if strings.HasPrefix(secret.Name, s.tenant) || strings.HasPrefix(secret.Name, "no") {
			out = append(out, "host Secret "+secret.Name)
		}
	}
	return out
}

func writeNewerDatabase(t *testing.T, path string) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bolt.Tx) error {
		bucket, err := tx.CreateBucket([]byte("meta"))
		if err != nil {
			return err
		}
		return bucket.Put([]byte("storageVersion"), []byte("3.99.0"))
	}))
	require.NoError(t, db.Close())
}

func writeKubeconfig(path string, config *rest.Config) error {
	file := clientcmdapi.NewConfig()
	file.Clusters["host"] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData, TLSServerName: config.ServerName}
	file.AuthInfos["host"] = &clientcmdapi.AuthInfo{Token: config.BearerToken}
	file.Contexts["host"] = &clientcmdapi.Context{Cluster: "host", AuthInfo: "host"}
	file.CurrentContext = "host"
	if err := clientcmd.WriteToFile(*file, path); err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	return nil
}

func without(list []string, item string) []string {
	var out []string
	for _, other := range list {
		if other != item {
			out = append(out, other)
		}
	}
	return out
}
