package tunnel

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/proxy"
	tunnelling "k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/cri-streaming/pkg/streaming/portforward"

	"nestling.dev/nestling/pkg/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const patience = 10 * time.Second

// fakeHost is an API server with one pod, whose port 8443 a function serves.
type fakeHost struct {
	server    *httptest.Server
	kubelet   *httptest.Server
	webSocket bool
	streams   atomic.Int64 // sessions that were asked for
	byUpgrade sync.Map     // what they asked to upgrade to

	mu     sync.Mutex
	pod    *corev1.Pod // nil: there is none
	status *metav1.Status
	serve  func(stream io.ReadWriteCloser) error
	open   []net.Conn
}

func startHost(t *testing.T, webSocket bool, serve func(io.ReadWriteCloser) error) *fakeHost {
	t.Helper()
	h := &fakeHost{webSocket: webSocket, serve: serve, pod: running("team-a-0")}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/namespaces/tenants/pods", h.list)
	mux.HandleFunc("/api/v1/namespaces/tenants/pods/{pod}/portforward", h.forward)
	h.server = httptest.NewUnstartedServer(mux)
	h.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	h.server.Config.ConnState = func(conn net.Conn, state http.ConnState) {
		if state == http.StateHijacked {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.open = append(h.open, conn)
		}
	}
	h.server.StartTLS()
	h.kubelet = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		portforward.ServePortForward(w, r, h, "", "", &portforward.V4Options{}, time.Hour, patience, portforward.SupportedProtocols)
	}))
	t.Cleanup(func() {
		h.cut()
		h.server.Close()
		h.kubelet.Close()
	})
	return h
}

func running(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.PodStatus{Phase: corev1.PodRunning}}
}

func (h *fakeHost) list(w http.ResponseWriter, r *http.Request) {
	list := corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}}
	h.mu.Lock()
	if h.pod != nil && r.URL.Query().Get("labelSelector") == "nestling.dev/control-plane=team-a" {
		list.Items = append(list.Items, *h.pod)
	}
	h.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(list)
}

func (h *fakeHost) forward(w http.ResponseWriter, r *http.Request) {
	h.streams.Add(1)
	h.byUpgrade.Store(r.Header.Get("Upgrade"), true)
	h.mu.Lock()
	pod, status := h.pod, h.status
	h.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer secret" {
		status = &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusUnauthorized, Reason: metav1.StatusReasonUnauthorized, Message: "who is there?"}
	} else if pod == nil || pod.Name != r.PathValue("pod") {
		status = &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound, Message: "no such pod"}
	}
	kubelet, _ := url.Parse(h.kubelet.URL)
	upgraded := proxy.NewUpgradeAwareHandler(kubelet, nil, false, true, h)
	if status == nil && pod.Status.Phase != corev1.PodRunning {
		status = &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Message: "pod is not running"}
	}
	switch webSocket := strings.EqualFold(r.Header.Get("Upgrade"), "websocket"); {
	case status != nil:
		status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(int(status.Code))
		_ = json.NewEncoder(w).Encode(status)
	case webSocket && h.webSocket:
		tunnelling.NewTunnelingHandler(upgraded).ServeHTTP(w, r)
	case webSocket:
		http.Error(w, "no WebSockets here", http.StatusForbidden)
	default:
		upgraded.ServeHTTP(w, r)
	}
}

// Error is for what goes wrong between the API server and the kubelet.
func (h *fakeHost) Error(w http.ResponseWriter, _ *http.Request, err error) {
	http.Error(w, err.Error(), http.StatusBadGateway)
}

func (h *fakeHost) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	if port != 8443 {
		return fmt.Errorf("nobody listens on port %d", port)
	}
	h.mu.Lock()
	serve := h.serve
	h.mu.Unlock()
	return serve(stream)
}

func (h *fakeHost) change(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

// cut breaks every session, as a host does that goes away.
func (h *fakeHost) cut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, conn := range h.open {
		_ = conn.Close()
	}
	h.open = nil
}

func (h *fakeHost) config() *rest.Config {
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.server.Certificate().Raw})
	return &rest.Config{Host: h.server.URL, BearerToken: "secret", TLSClientConfig: rest.TLSClientConfig{CAData: authority}, QPS: -1}
}

// lines are what a tunnel reports.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
}

func (l *lines) get() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.all...)
}

func openTunnel(t *testing.T, h *fakeHost, change func(*Options)) (*Tunnel, *lines) {
	t.Helper()
	config := h.config()
	web, err := rest.HTTPClientFor(config)
	require.NoError(t, err)
	client, err := kubernetes.NewForConfigAndClient(config, web)
	require.NoError(t, err)
	t.Cleanup(web.CloseIdleConnections)
	said := &lines{}
	options := Options{
		Host: config, Namespace: "tenants", Port: 8443, Patience: patience, Report: said.add,
		Pod: ControlPlane(client, "tenants", "nestling.dev/control-plane", "team-a"),
	}
	if change != nil {
		change(&options)
	}
	tunnel, err := Open(options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tunnel.Close()) })
	return tunnel, said
}

func connect(t *testing.T, tunnel *Tunnel) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp4", tunnel.Address())
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(2*patience)))
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// echo repeats lines.
func echo(stream io.ReadWriteCloser) error {
	_, err := io.Copy(stream, stream)
	return err
}

func ask(t *testing.T, conn net.Conn, line string) string {
	t.Helper()
	_, err := fmt.Fprintln(conn, line)
	require.NoError(t, err)
	answer, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(answer)
}

func TestBothProtocols(t *testing.T) {
	for name, webSocket := range map[string]bool{"WebSocket": true, "SPDY, where WebSockets are refused": false} {
		t.Run(name, func(t *testing.T) {
			host := startHost(t, webSocket, echo)
			tunnel, said := openTunnel(t, host, nil)
			require.Equal(t, "hello", ask(t, connect(t, tunnel), "hello"))
			require.Equal(t, "again", ask(t, connect(t, tunnel), "again"))
			_, spdy := host.byUpgrade.Load("SPDY/3.1")
			require.Equal(t, !webSocket, spdy)
			if webSocket {
				require.EqualValues(t, 2, host.streams.Load())
			} else {
				require.EqualValues(t, 3, host.streams.Load(), "a refusal of WebSockets is remembered")
			}
			require.Empty(t, said.get())
		})
	}
}

// What passes is not touched: a TLS server behind the tunnel sees the client's certificate, and is known by its own.
func TestTLSIsEndToEnd(t *testing.T) {
	pair := httptest.NewUnstartedServer(nil)
	pair.StartTLS()
	pair.Close()
	certificate, roots := pair.TLS.Certificates[0], x509.NewCertPool()
	roots.AddCert(pair.Certificate())
	seen := make(chan int, 1)
	host := startHost(t, true, func(stream io.ReadWriteCloser) error {
		conn := tls.Server(bodyConn{stream}, &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAnyClientCert})
		if err := conn.Handshake(); err != nil {
			return err
		}
		seen <- len(conn.ConnectionState().PeerCertificates)
		return echo(conn)
	})
	tunnel, _ := openTunnel(t, host, nil)
	conn := tls.Client(connect(t, tunnel), &tls.Config{RootCAs: roots, ServerName: "example.com", Certificates: []tls.Certificate{certificate}})
	require.Equal(t, "hello", ask(t, conn, "hello"))
	require.Equal(t, 1, <-seen)

	conn = tls.Client(connect(t, tunnel), &tls.Config{RootCAs: roots, ServerName: "another.example"})
	require.ErrorAs(t, conn.Handshake(), new(*tls.CertificateVerificationError))
}

func TestLargeTransfersSideBySide(t *testing.T) {
	host := startHost(t, true, echo)
	tunnel, _ := openTunnel(t, host, nil)
	var all sync.WaitGroup
	for i := range 20 {
		conn := connect(t, tunnel)
		all.Go(func() {
			sent := strings.Repeat(fmt.Sprintf("connection %d\n", i), 50_000)
			go func() {
				_, _ = io.WriteString(conn, sent)
				_ = conn.(*net.TCPConn).CloseWrite()
			}()
			got, err := io.ReadAll(conn)
			if err != nil || string(got) != sent {
				t.Errorf("connection %d: sent %d bytes, got %d: %v", i, len(sent), len(got), err)
			}
		})
	}
	all.Wait()
}

// A client who does not read, as a watch may, holds up nobody else.
func TestASlowClientHoldsUpNobody(t *testing.T) {
	host := startHost(t, true, func(stream io.ReadWriteCloser) error {
		line, err := bufio.NewReader(stream).ReadString('\n')
		if err != nil {
			return err
		}
		for line == "flood\n" && err == nil {
			_, err = stream.Write(make([]byte, 64<<10))
		}
		_, err = io.WriteString(stream, line)
		return err
	})
	tunnel, _ := openTunnel(t, host, nil)
	for range 3 {
		_, err := io.WriteString(connect(t, tunnel), "flood\n")
		require.NoError(t, err)
	}
	for range 10 {
		require.Equal(t, "hello", ask(t, connect(t, tunnel), "hello"))
	}
}

// Who connects while the pod restarts waits, and what it has said is said to the next one.
func TestWaitsForThePod(t *testing.T) {
	for name, test := range map[string]struct {
		breaks, mends func(h *fakeHost)
		want          string
	}{
		"no pod": {
			func(h *fakeHost) { h.pod = nil }, func(h *fakeHost) { h.pod = running("team-a-0") }, `tenant "team-a" in namespace "tenants" has no running control plane: there is no pod`},
		"a pod that is pulled": {
			func(h *fakeHost) {
				h.pod.Status = corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{
					State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}},
				}}}
			}, func(h *fakeHost) { h.pod = running("team-a-0") }, `pod team-a-0 is Pending, ImagePullBackOff`},
		"another pod": {
			func(h *fakeHost) { h.pod = running("team-a-1"); h.serve = refuse }, func(h *fakeHost) { h.serve = echo }, `connection refused`},
		"a port that nobody listens on yet": {
			func(h *fakeHost) { h.serve = refuse }, func(h *fakeHost) { h.serve = echo }, `connection refused`},
		"a process that dies before it answers": {
			func(h *fakeHost) { h.serve = die }, func(h *fakeHost) { h.serve = echo }, `without an answer`},
		"a host that is overloaded": {
			func(h *fakeHost) {
				h.status = &metav1.Status{Status: metav1.StatusFailure, Code: 429, Reason: metav1.StatusReasonTooManyRequests, Message: "later"}
			}, func(h *fakeHost) { h.status = nil }, `later`},
	} {
		t.Run(name, func(t *testing.T) {
			host := startHost(t, true, echo)
			tunnel, said := openTunnel(t, host, nil)
			before := connect(t, tunnel)
			require.Equal(t, "hello", ask(t, before, "hello"))

			host.change(func() { test.breaks(host) })
			host.cut()
			_, err := before.Read(make([]byte, 1))
			require.Error(t, err, "what breaks is broken for its client")
			require.False(t, errors.Is(err, context.DeadlineExceeded))

			waiting := connect(t, tunnel)
			_, err = fmt.Fprintln(waiting, "I wait")
			require.NoError(t, err)
			require.Eventually(t, func() bool { return len(said.get()) == 1 }, patience, time.Millisecond)
			require.Contains(t, said.get()[0], test.want)
			host.change(func() { test.mends(host) })
			answer, err := bufio.NewReader(waiting).ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "I wait\n", answer)
			require.Equal(t, []string{said.get()[0], "the tunnel works again"}, said.get())
		})
	}
}

func refuse(io.ReadWriteCloser) error {
	return errors.New("failed to connect to localhost:8443: connection refused")
}

// die reads what comes, and says nothing.
func die(stream io.ReadWriteCloser) error {
	_, err := stream.Read(make([]byte, 1024))
	return err
}

func TestPatienceEnds(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(h *fakeHost, o *Options)
		want  string
	}{
		"of a pod that never comes": {func(h *fakeHost, _ *Options) { h.pod = nil }, "there is no pod"},
		"of a host that is gone":    {func(h *fakeHost, _ *Options) { h.server.Listener.Close() }, "connection refused"},
		"at once of a right that is missing": {func(h *fakeHost, o *Options) {
			o.Patience = time.Hour
			h.status = &metav1.Status{Status: metav1.StatusFailure, Code: 403, Reason: metav1.StatusReasonForbidden, Message: "pods/portforward is forbidden"}
		}, "forward to pod tenants/team-a-0: pods/portforward is forbidden"},
		"at once of credentials that are wrong": {func(h *fakeHost, o *Options) {
			o.Patience = time.Hour
			o.Host = rest.CopyConfig(o.Host)
			o.Host.BearerToken = "wrong"
		}, "who is there?"},
	} {
		t.Run(name, func(t *testing.T) {
			host := startHost(t, true, echo)
			tunnel, said := openTunnel(t, host, func(o *Options) {
				o.Patience = 3 * time.Second // a handshake and a list of pods are part of it
				host.change(func() { test.spoil(host, o) })
			})
			conn := connect(t, tunnel)
			_, err := fmt.Fprintln(conn, "hello")
			require.NoError(t, err)
			_, err = conn.Read(make([]byte, 1))
			require.Error(t, err)
			require.Len(t, said.get(), 1)
			require.Contains(t, said.get()[0], test.want)
		})
	}
}

// A connection that has had an answer is never begun again, and one that said too much neither.
func TestNothingIsSaidTwiceThatMatters(t *testing.T) {
	for name, said := range map[string]int{"after an answer": 1, "more than an opening": 2 * openingBytes} {
		t.Run(name, func(t *testing.T) {
			var sessions atomic.Int64
			host := startHost(t, true, func(stream io.ReadWriteCloser) error {
				sessions.Add(1)
				if said == 1 {
					_, _ = stream.Read(make([]byte, 1))
					_, err := stream.Write([]byte("x"))
					return err
				}
				_, err := io.ReadFull(stream, make([]byte, said))
				return err
			})
			tunnel, _ := openTunnel(t, host, nil)
			conn := connect(t, tunnel)
			_, err := conn.Write(make([]byte, said))
			require.NoError(t, err)
			_, _ = io.ReadAll(conn)
			require.EqualValues(t, 1, sessions.Load())
		})
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	host := startHost(t, true, echo)
	tunnel, _ := openTunnel(t, host, func(o *Options) { o.Connections = 3 })
	var conns []net.Conn
	for range 3 {
		conns = append(conns, connect(t, tunnel))
		require.Equal(t, "hello", ask(t, conns[len(conns)-1], "hello"))
	}
	beyond := connect(t, tunnel) // accepted by nobody
	_, err := fmt.Fprintln(beyond, "hello")
	require.NoError(t, err)
	require.NoError(t, tunnel.Close())
	for _, conn := range append(conns, beyond) {
		_, err := conn.Read(make([]byte, 1))
		require.Error(t, err)
	}
	_, err = net.Dial("tcp4", tunnel.Address())
	require.Error(t, err)
	require.NoError(t, tunnel.Close(), "twice is no fault")
}

func TestConnectionsBeyondTheBoundWait(t *testing.T) {
	host := startHost(t, true, echo)
	tunnel, _ := openTunnel(t, host, func(o *Options) { o.Connections = 1 })
	first := connect(t, tunnel)
	require.Equal(t, "first", ask(t, first, "first"))
	second := connect(t, tunnel)
	require.NoError(t, first.Close())
	require.Equal(t, "second", ask(t, second, "second"))
}

func TestThePodThatServes(t *testing.T) {
	now := metav1.Now()
	pod := func(name string, age time.Duration, isReady, goes bool) corev1.Pod {
		out := running(name)
		out.CreationTimestamp = metav1.NewTime(now.Add(-age))
		if isReady {
			out.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		}
		if goes {
			out.DeletionTimestamp = &now
		}
		return *out
	}
	for name, test := range map[string]struct {
		a, b corev1.Pod
	}{
		"the one that stays":    {pod("a", 0, false, false), pod("b", 0, true, true)},
		"the one that is ready": {pod("a", time.Hour, true, false), pod("b", 0, false, false)},
		"the youngest":          {pod("a", 0, true, false), pod("b", time.Hour, true, false)},
	} {
		t.Run(name, func(t *testing.T) {
			require.True(t, better(&test.a, &test.b))
			require.False(t, better(&test.b, &test.a))
		})
	}
}
