package stories

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes"

	around "nestling.dev/nestling/e2e/addon/nameserver"
	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/controlplane/controlplanetest"
	"nestling.dev/nestling/pkg/dns"
	"nestling.dev/nestling/pkg/lifecycle"
)

const (
	// patience with the API server and its watches, on a machine that builds something else.
	patience = 20 * time.Second
	// serviceIP is that of kube-system/kube-dns, endpoint that of the process behind it.
	serviceIP, endpoint = "10.96.0.53", "10.244.3.3"
)

// world is a tenant's API and its DNS, with nameservers around it.
type world struct {
	virtual kubernetes.Interface
	api     *controlplanetest.Server
	server  *dns.Server
	stop    func() error
}

// shared is an API server for tests that leave kube-system alone, set by TestMain and not
// changed after.
var shared *controlplanetest.Server

func TestMain(m *testing.M) {
	server, stop, err := controlplanetest.Run(withRange())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	shared = server
	code := m.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withRange() controlplanetest.Options {
	return controlplanetest.Options{Configure: func(o *controlplane.APIServerOptions) { o.ServiceCIDR = "10.96.0.0/12" }}
}

// join starts a DNS for the shared API server. It keeps no Service.
func join(t *testing.T, configure func(*dns.Options)) *world {
	t.Helper()
	return open(t, shared, func(o *dns.Options) {
		o.Service = nil
		if configure != nil {
			configure(o)
		}
	})
}

// start brings up an API server for one test alone, and its DNS.
func start(t *testing.T, configure func(*dns.Options)) *world {
	t.Helper()
	return open(t, controlplanetest.Start(t, withRange()), configure)
}

func open(t *testing.T, api *controlplanetest.Server, configure func(*dns.Options)) *world {
	t.Helper()
	w := &world{api: api}
	var err error
	w.virtual, err = kubernetes.NewForConfig(w.api.Config)
	require.NoError(t, err)
	w.serve(t, configure)
	t.Cleanup(func() { require.NoError(t, w.stop()) })
	return w
}

// serve starts a DNS for the world's API.
func (w *world) serve(t *testing.T, configure func(*dns.Options)) {
	t.Helper()
	virtual, err := w.api.API.ClientConfig(controlplane.DNSUser)
	require.NoError(t, err)
	options := dns.Options{
		Virtual: virtual, BindAddress: net.IPv4(127, 0, 0, 1), ClusterDomain: "cluster.local",
		ResolvConf: filepath.Join(t.TempDir(), "resolv.conf"),
		Service:    &dns.Service{IP: net.ParseIP(serviceIP), Endpoint: net.ParseIP(endpoint)},
	}
	require.NoError(t, os.WriteFile(options.ResolvConf, []byte("search tenants.svc.host.example svc.host.example host.example\n"), 0o600))
	if configure != nil {
		configure(&options)
	}
	w.server, err = dns.New(options)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- lifecycle.Run(ctx, []lifecycle.Component{w.server}, lifecycle.Options{
			Observe: func(_ string, phase lifecycle.Phase, _ time.Duration) {
				if phase == lifecycle.Ready {
					close(ready)
				}
			},
		})
	}()
	w.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	select {
	case <-ready:
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(patience):
		require.Fail(t, "the DNS does not start")
	}
}

// ask is the answer to TYPE NAME.
func (w *world) ask(t *testing.T, question string) *miekg.Msg {
	t.Helper()
	answer, err := around.Ask(t.Context(), w.server.Address(), question)
	require.NoError(t, err)
	return answer
}

func says(answer *miekg.Msg) string { return around.Says(answer) }

func describe(records []miekg.RR) string { return around.Describe(records) }

// eventually asks until the answer is as wanted.
func (w *world) eventually(t *testing.T, question, want string) {
	t.Helper()
	var got string
	require.Eventually(t, func() bool {
		got = says(w.ask(t, question))
		return got == want
	}, patience, 20*time.Millisecond, "%s: want %q", question, want)
}

// nameserver serves a zone until the test ends, and returns its address.
func nameserver(t *testing.T, zone string) string {
	t.Helper()
	server, err := around.Start("127.0.0.1", zone)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	return server.Address
}
