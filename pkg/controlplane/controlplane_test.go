package controlplane_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	embeddedetcd "nestling.dev/nestling/embedded-etcd"
	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/lifecycle"
	"nestling.dev/nestling/pkg/metrics"
	"nestling.dev/nestling/pkg/pki"
)

// patience bounds every wait for something that takes a second or two on an
// idle machine.
const patience = 60 * time.Second

// plane is a control plane under test and what its collaborators saw.
type plane struct {
	dir     string
	bundle  *pki.Bundle
	metrics *metrics.Metrics

	syncerReady atomic.Bool // what the additional ready check says
	kubelet     *httptest.Server
	log         io.ReadCloser // a log that is being followed

	api    *controlplane.APIServer
	admin  *rest.Config
	client kubernetes.Interface
	stop   func() error
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	require.NoError(t, controlplane.SetGlobals(controlplane.Globals{Quiet: true}))
	dir, err := os.MkdirTemp("", "plane") // t.TempDir is too deep for a socket
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	bundle, err := pki.New(time.Now())
	require.NoError(t, err)
	return &plane{dir: dir, bundle: bundle, metrics: metrics.New("test"), kubelet: newKubelet(t)}
}

// start brings it up as the product does; the controller manager only at the
// first time, since it cannot run twice in a process.
func (p *plane) start(t *testing.T, withControllers bool) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	etcd := embeddedetcd.New(embeddedetcd.Options{DataDir: filepath.Join(p.dir, "etcd"), Owner: "team/blue"})
	p.api, err = controlplane.NewAPIServer(controlplane.APIServerOptions{
		EtcdEndpoint:     etcd.Endpoint(),
		PKI:              p.bundle,
		Dir:              filepath.Join(p.dir, "apiserver"),
		Listener:         listener,
		AdvertiseAddress: net.ParseIP("192.0.2.1"),
		ServiceCIDR:      "10.96.0.0/12",
		ServiceIP:        net.ParseIP("10.100.7.7"),
		SANs:             []string{"blue.team.svc"},
		Kubelet: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, p.kubelet.Listener.Addr().String())
		},
		ReadyChecks: []healthz.HealthChecker{healthz.NamedCheck("syncer", func(*http.Request) error {
			if !p.syncerReady.Load() {
				return errors.New("caches are not synced")
			}
			return nil
		})},
		Metrics: p.metrics.Handler(),
	})
	require.NoError(t, err)
	components := []lifecycle.Component{etcd, p.api}
	if withControllers {
		manager, err := controlplane.NewControllerManager(controlplane.ControllerManagerOptions{
			ClientConfig: func() (*rest.Config, error) { return p.api.ClientConfig(controlplane.ControllerManagerUser) },
			PKI:          p.bundle,
			Dir:          filepath.Join(p.dir, "controller-manager"),
		})
		require.NoError(t, err)
		components = append(components, manager)
	}

	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended, ready := make(chan error, 1), make(chan struct{})
	last := components[len(components)-1].Name()
	go func() {
		ended <- lifecycle.Run(ctx, components, lifecycle.Options{
			StopTimeout: patience, // a stop that is slow is for the tests to judge
			Observe: func(name string, phase lifecycle.Phase, took time.Duration) {
				t.Logf("%s %s after %v", name, phase, took.Round(time.Millisecond))
				if phase == lifecycle.Ready {
					p.metrics.ObserveStart(name, took)
				}
				if name == last && phase == lifecycle.Ready {
					close(ready)
				}
			},
		})
	}()
	stopped := false
	p.stop = func() error {
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() {
		if !stopped {
			_ = p.stop()
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		stopped = true
		t.Fatalf("the control plane did not start: %v", err)
	}
	p.admin, err = p.api.ClientConfig("admin", "system:masters")
	require.NoError(t, err)
	p.client, err = kubernetes.NewForConfig(p.admin)
	require.NoError(t, err)
}

// get fetches a path and returns status and body.
func (p *plane) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	client, err := rest.HTTPClientFor(p.admin)
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.admin.Host+path, nil)
	require.NoError(t, err)
	response, err := client.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(raw)
}

// eventually polls until condition holds.
func eventually(t *testing.T, what string, condition func(ctx context.Context) bool) {
	t.Helper()
	require.Eventually(t, func() bool { return condition(t.Context()) }, patience, 50*time.Millisecond, what)
}

func TestControlPlane(t *testing.T) {
	p := newPlane(t)
	p.start(t, true)

	t.Run("a new namespace gets its ServiceAccount and the root certificate", p.namespaceIsFurnished)
	t.Run("a Deployment becomes pods", p.deploymentMakesPods)
	t.Run("a policy is checked against the types that it names", p.policyIsChecked)
	t.Run("a namespace goes with its last pod", p.namespaceGoes)
	t.Run("ready waits for the additional check, live does not", p.readiness)
	t.Run("the kubernetes Service has the address it was given", p.kubernetesService)
	t.Run("every component has an identity of its own", p.identities)
	t.Run("the metrics page is whole and has no family twice", p.metricsPage)
	t.Run("a log is followed through the dialer for kubelets", p.followLog)
	t.Run("private files are private", p.privateFiles)
	t.Run("a volume claim in use is protected and then goes", p.claimProtection)

	t.Run("it stops in time with an open watch and an open log, and keeps its data", func(t *testing.T) {
		watch, err := p.client.CoreV1().Namespaces().Watch(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		defer watch.Stop()
		<-watch.ResultChan() // it is established
		defer func() { _ = p.log.Close() }()

		began := time.Now()
		require.NoError(t, p.stop())
		require.Less(t, time.Since(began), 25*time.Second, "a kubelet gives a pod 30 s")

		p.start(t, false)
		_, err = p.client.CoreV1().Namespaces().Get(t.Context(), "furnished", metav1.GetOptions{})
		require.NoError(t, err)
		require.NoError(t, p.stop())
	})
}

func (p *plane) namespaceIsFurnished(t *testing.T) {
	_, err := p.client.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "furnished"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	eventually(t, "the default ServiceAccount", func(ctx context.Context) bool {
		_, err := p.client.CoreV1().ServiceAccounts("furnished").Get(ctx, "default", metav1.GetOptions{})
		return err == nil
	})
	eventually(t, "the root certificate", func(ctx context.Context) bool {
		found, err := p.client.CoreV1().ConfigMaps("furnished").Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
		return err == nil && found.Data["ca.crt"] == string(p.bundle.CAPEM())
	})
}

func (p *plane) readiness(t *testing.T) {
	status, body := p.get(t, "/readyz?verbose")
	require.Equal(t, http.StatusInternalServerError, status)
	require.Contains(t, body, "[-]syncer failed")
	status, body = p.get(t, "/livez?verbose")
	require.Equal(t, http.StatusOK, status, body)
	require.NotContains(t, body, "syncer")

	p.syncerReady.Store(true)
	eventually(t, "ready", func(context.Context) bool {
		status, body = p.get(t, "/readyz?verbose")
		return status == http.StatusOK
	})
}

func (p *plane) metricsPage(t *testing.T) {
	status, page := p.get(t, "/metrics")
	require.Equal(t, http.StatusOK, status)
	families := map[string]int{}
	for line := range strings.Lines(page) {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, _, _ := strings.Cut(rest, " ")
			families[name]++
		}
	}
	for _, family := range []string{
		"nestling_component_start_seconds", // ours
		"apiserver_request_total",          // the API server's
		"workqueue_depth",                  // the controller manager's
		"rest_client_requests_total",       // client-go's
		"etcd_disk_wal_fsync_duration_seconds",
		"process_resident_memory_bytes",
	} {
		require.Equal(t, 1, families[family], family)
	}
	for family, times := range families {
		require.Equal(t, 1, times, family)
	}
}

func (p *plane) privateFiles(t *testing.T) {
	require.NoError(t, filepath.WalkDir(p.dir, func(path string, entry os.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := entry.Info()
		require.NoError(t, err)
		if path != p.dir && entry.Type()&os.ModeSocket == 0 {
			require.Zero(t, info.Mode().Perm()&0o077, "%s has mode %v", path, info.Mode())
		}
		return nil
	}))
}
