package kubeletapi

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"

	"nestling.dev/nestling/pkg/leaktest"
	"nestling.dev/nestling/pkg/pki"
)

func TestMain(m *testing.M) {
	leaktest.Main(m,
		// Of the user's and the host's side of the tests: they end at their next tick.
		goleak.IgnoreAnyFunction("k8s.io/client-go/tools/remotecommand.(*heartbeat).start"),
		goleak.IgnoreAnyFunction("github.com/moby/spdystream.(*Connection).shutdown"),
	)
}

func get(t testing.TB, tripper http.RoundTripper, method, path string) (code int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "https://node:10250"+path, nil)
	require.NoError(t, err)
	answer, err := tripper.RoundTrip(request)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(text)
}

func TestOnlyTheAPIServerMayAsk(t *testing.T) {
	t.Parallel()
	host := newFakeHost(t, nil)
	server := start(t, host.config(), nil)

	code, _ := get(t, server.kubeletTransport(t, clientName), http.MethodGet, "/healthz")
	require.Equal(t, http.StatusOK, code, "the API server")

	code, _ = get(t, server.transport(t, transport.TLSConfig{Insecure: true}), http.MethodGet, "/healthz")
	require.Equal(t, http.StatusUnauthorized, code, "nobody")

	code, _ = get(t, server.kubeletTransport(t, "kubernetes-admin"), http.MethodGet, "/containerLogs/default/web-0/app")
	require.Equal(t, http.StatusForbidden, code, "someone else of this cluster")

	other, err := pki.New(time.Now())
	require.NoError(t, err)
	certificate, key, err := other.Issue(pki.Leaf{CommonName: clientName, Client: true})
	require.NoError(t, err)
	stranger := server.transport(t, transport.TLSConfig{Insecure: true, CertData: certificate, KeyData: key})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://node/healthz", nil)
	require.NoError(t, err)
	answer, err := stranger.RoundTrip(request)
	if err == nil {
		_ = answer.Body.Close()
	}
	require.Error(t, err, "another cluster's API server")

	certificate, key, err = server.pki.Issue(pki.Leaf{CommonName: clientName, Server: true})
	require.NoError(t, err)
	impostor := server.transport(t, transport.TLSConfig{Insecure: true, CertData: certificate, KeyData: key})
	answer, err = impostor.RoundTrip(request)
	if err == nil {
		_ = answer.Body.Close()
	}
	require.Error(t, err, "a server's certificate")
	require.Empty(t, host.requests())
}

func TestWhatIsNotThere(t *testing.T) {
	t.Parallel()
	host := newFakeHost(t, nil)
	api := start(t, host.config(), nil).kubeletTransport(t, clientName)
	for name, test := range map[string]struct {
		method, path string
		code         int
		body         string
	}{
		"healthz":                   {"GET", "/healthz", 200, "ok"},
		"pods":                      {"GET", "/pods", 404, "404 page not found"},
		"run":                       {"POST", "/run/default/web-0/app?cmd=id", 404, "404 page not found"},
		"stats":                     {"GET", "/stats/summary", 404, "404 page not found"},
		"method":                    {"DELETE", "/containerLogs/default/web-0/app", 405, "405: Method Not Allowed"},
		"posted log":                {"POST", "/containerLogs/default/web-0/app", 405, "405: Method Not Allowed"},
		"pod":                       {"GET", "/containerLogs/default/web-1/app", 404, `pod "web-1" does not exist`},
		"namespace":                 {"GET", "/containerLogs/hosts/web-0/app", 404, `pod "web-0" does not exist`},
		"host's name of the pod":    {"GET", "/containerLogs/hosts/" + hostPod + "/app", 404, `pod "` + hostPod + `" does not exist`},
		"container":                 {"GET", "/containerLogs/default/web-0/istio-proxy", 404, `container "istio-proxy" not found in pod "web-0_default"`},
		"former pod of that name":   {"POST", "/exec/default/web-0/99999999-2222-3333-4444-555555555555/app?output=1", 404, `pod "web-0" does not exist`},
		"this very pod, no upgrade": {"POST", "/exec/default/web-0/" + string(podUID) + "/app?output=1", 400, "Upgrade request required"},
		"query":                     {"GET", "/containerLogs/default/web-0/app?follow=%zz", 400, "unable to parse the query"},
		"query with semicolon":      {"GET", "/containerLogs/default/web-0/app?follow=true;a=b", 400, "unable to parse the query"},
	} {
		t.Run(name, func(t *testing.T) {
			code, body := get(t, api, test.method, test.path)
			require.Equal(t, test.code, code)
			require.Equal(t, test.body, body)
		})
	}
	require.Empty(t, host.requests())
}

func TestStreamsAreLimited(t *testing.T) {
	t.Parallel()
	host := newFakeHost(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	server := start(t, host.config(), func(options *Options) { options.MaxStreams = 1 })
	api := server.kubeletTransport(t, clientName)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://node/containerLogs/default/web-0/app?follow=true", nil)
	require.NoError(t, err)
	answer, err := api.RoundTrip(request)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()

	code, body := get(t, api, http.MethodGet, "/containerLogs/default/web-0/app")
	require.Equal(t, http.StatusTooManyRequests, code)
	require.Equal(t, "1 streams are open already, which is the limit of this cluster", body)
	code, _ = get(t, api, http.MethodGet, "/healthz")
	require.Equal(t, http.StatusOK, code)

	cancel()
	require.Eventually(t, func() bool { return len(server.handler.places) == 0 }, 10*time.Second, time.Millisecond)
}

func TestDialWithoutAServer(t *testing.T) {
	t.Parallel()
	listener := newMemory()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := listener.Dial(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, listener.Close())
	require.NoError(t, listener.Close())
	_, err = listener.Dial(t.Context())
	require.ErrorIs(t, err, errStopped)
	_, err = listener.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
}

// Both ends write more than a handshake before they read: net.Pipe would hang.
func TestConnectionsHaveBuffers(t *testing.T) {
	t.Parallel()
	first, second, err := socketPair()
	require.NoError(t, err)
	text := make([]byte, 32<<10)
	for _, conn := range []net.Conn{first, second} {
		require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
		_, err := conn.Write(text)
		require.NoError(t, err)
	}
	for _, conn := range []net.Conn{first, second} {
		_, err := io.ReadFull(conn, text)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	}
}

func TestNewRefusesBadOptions(t *testing.T) {
	t.Parallel()
	bundle, err := pki.New(time.Now())
	require.NoError(t, err)
	certificate, key, err := bundle.Issue(pki.Leaf{CommonName: "kubelet-api", Server: true})
	require.NoError(t, err)
	for problem, change := range map[string]func(*Options){
		"kubelet API: serving certificate: ":           func(o *Options) { o.Key = nil },
		"kubelet API: client CA: no certificate in it": func(o *Options) { o.ClientCA = []byte("x") },
		"kubelet API: no client name":                  func(o *Options) { o.ClientName = "" },
		"kubelet API: no resolver":                     func(o *Options) { o.Resolver = nil },
		"kubelet API: no host":                         func(o *Options) { o.Host = nil },
		"kubelet API: connect to the host: ":           func(o *Options) { o.Host = &rest.Config{Host: "https://x", BearerTokenFile: "/nowhere"} },
	} {
		options := Options{
			Host: hostConfig(), Resolver: resolveWeb,
			Certificate: certificate, Key: key, ClientCA: bundle.CAPEM(), ClientName: clientName,
		}
		change(&options)
		_, err := New(options)
		require.ErrorContains(t, err, problem)
	}
}

func TestHTTP2IsNotSpoken(t *testing.T) {
	t.Parallel()
	server := start(t, newFakeHost(t, nil).config(), nil)
	conn, err := server.Dial(t.Context(), "tcp", "anything")
	require.NoError(t, err)
	client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
	defer func() { _ = client.Close() }()
	require.NoError(t, client.HandshakeContext(t.Context()))
	require.Equal(t, "http/1.1", client.ConnectionState().NegotiatedProtocol)
}
