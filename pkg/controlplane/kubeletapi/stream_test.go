package kubeletapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/util/exec"
	"k8s.io/kubernetes/pkg/features"
)

// ways in which client, API server and node may agree on streams.
var ways = map[string]struct {
	websocket    bool
	nodeFeatures []string
}{
	"SPDY":                                {},
	"WebSocket, translated by the server": {websocket: true},
	"WebSocket, all the way":              {websocket: true, nodeFeatures: []string{string(features.ExtendWebSocketsToKubelet)}},
}

func podURL(t testing.TB, config *rest.Config, pod, subresource string, options runtime.Object) *url.URL {
	t.Helper()
	client, err := corev1client.NewForConfig(config)
	require.NoError(t, err)
	return client.RESTClient().Get().Namespace("default").Resource("pods").Name(pod).
		SubResource(subresource).VersionedParams(options, scheme.ParameterCodec).URL()
}

func executor(t testing.TB, config *rest.Config, websocket bool, location *url.URL) remotecommand.Executor {
	t.Helper()
	if websocket {
		executor, err := remotecommand.NewWebSocketExecutor(config, http.MethodGet, location.String())
		require.NoError(t, err)
		return executor
	}
	executor, err := remotecommand.NewSPDYExecutor(config, http.MethodPost, location)
	require.NoError(t, err)
	return executor
}

type sizes chan remotecommand.TerminalSize

func (s sizes) Next() *remotecommand.TerminalSize {
	size, ok := <-s
	if !ok {
		return nil
	}
	return &size
}

func TestExec(t *testing.T) {
	t.Parallel()
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t, newFakeHost(t, nil).config(), nil)
			tenant := server.tenant(t, way.nodeFeatures...)
			run := func(container string, options corev1.PodExecOptions, streams remotecommand.StreamOptions) error {
				options.Container = container
				location := podURL(t, tenant, "web-0", "exec", &options)
				return executor(t, tenant, way.websocket, location).StreamWithContext(t.Context(), streams)
			}

			t.Run("stdin comes back from cat", func(t *testing.T) {
				text := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // 1 MiB
				var out bytes.Buffer
				require.NoError(t, run("app", corev1.PodExecOptions{Command: []string{"cat"}, Stdin: true, Stdout: true},
					remotecommand.StreamOptions{Stdin: bytes.NewReader(text), Stdout: &out}))
				require.True(t, bytes.Equal(text, out.Bytes()), "%d of %d bytes", out.Len(), len(text))
			})
			t.Run("stdout and stderr are apart", func(t *testing.T) {
				var out, err bytes.Buffer
				require.NoError(t, run("debugger", corev1.PodExecOptions{Command: []string{"both"}, Stdout: true, Stderr: true},
					remotecommand.StreamOptions{Stdout: &out, Stderr: &err}))
				require.Equal(t, "to stdout|to stderr", out.String()+"|"+err.String())
			})
			t.Run("exit codes arrive", func(t *testing.T) {
				err := run("app", corev1.PodExecOptions{Command: []string{"exit", "42"}, Stdout: true},
					remotecommand.StreamOptions{Stdout: io.Discard})
				var code exec.CodeExitError
				require.ErrorAs(t, err, &code)
				require.Equal(t, 42, code.Code)
			})
			t.Run("terminal sizes arrive", func(t *testing.T) {
				var out bytes.Buffer
				queue := make(sizes, 1)
				queue <- remotecommand.TerminalSize{Width: 80, Height: 24}
				defer close(queue)
				require.NoError(t, run("app", corev1.PodExecOptions{Command: []string{"size"}, Stdin: true, Stdout: true, TTY: true},
					remotecommand.StreamOptions{Stdin: blocked(t), Stdout: &out, Tty: true, TerminalSizeQueue: queue}))
				require.Equal(t, "80x24", out.String())
			})
			t.Run("a container that the host put there does not exist", func(t *testing.T) {
				err := run("istio-proxy", corev1.PodExecOptions{Command: []string{"cat"}, Stdout: true},
					remotecommand.StreamOptions{Stdout: io.Discard})
				require.ErrorContains(t, err, `container "istio-proxy" not found in pod "web-0_default"`)
			})
		})
	}
}

// blocked is a reader that gives nothing until the test ends, as a terminal does.
func blocked(t testing.TB) io.Reader {
	reader, writer := io.Pipe()
	t.Cleanup(func() { _ = writer.Close() })
	return reader
}

func TestAttach(t *testing.T) {
	t.Parallel()
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenant := start(t, newFakeHost(t, nil).config(), nil).tenant(t, way.nodeFeatures...)
			location := podURL(t, tenant, "web-0", "attach", &corev1.PodAttachOptions{Container: "app", Stdin: true, Stdout: true})
			var out bytes.Buffer
			require.NoError(t, executor(t, tenant, way.websocket, location).StreamWithContext(t.Context(),
				remotecommand.StreamOptions{Stdin: bytes.NewBufferString("hello"), Stdout: &out}))
			require.Equal(t, "hello", out.String())
		})
	}
}

func TestPortForward(t *testing.T) {
	t.Parallel()
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenant := start(t, newFakeHost(t, nil).config(), nil).tenant(t, way.nodeFeatures...)
			location := podURL(t, tenant, "web-0", "portforward", &corev1.PodPortForwardOptions{})
			ports := forward(t, tenant, way.websocket, location, "0:8080", "0:9090", "0:1")

			for _, port := range ports[:2] {
				t.Run(fmt.Sprint(port.Remote), func(t *testing.T) {
					conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port.Local))
					require.NoError(t, err)
					defer func() { _ = conn.Close() }()
					_, err = conn.Write([]byte("ping"))
					require.NoError(t, err)
					require.NoError(t, conn.(*net.TCPConn).CloseWrite())
					answer, err := io.ReadAll(conn)
					require.NoError(t, err)
					require.Equal(t, fmt.Sprintf("port %d: ping", port.Remote), string(answer))
				})
			}
		})
	}
}

// forward runs a port-forward until the test ends.
func forward(t testing.TB, config *rest.Config, websocket bool, location *url.URL, ports ...string) []portforward.ForwardedPort {
	t.Helper()
	var dialer httpstream.Dialer
	if websocket {
		tunnel, err := portforward.NewSPDYOverWebsocketDialer(location, config)
		require.NoError(t, err)
		dialer = tunnel
	} else {
		tripper, upgrader, err := spdy.RoundTripperFor(config)
		require.NoError(t, err)
		dialer = spdy.NewDialer(upgrader, &http.Client{Transport: tripper}, http.MethodPost, location)
	}
	stop, ready, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	forwarder, err := portforward.New(dialer, ports, stop, ready, io.Discard, io.Discard)
	require.NoError(t, err)
	go func() { ended <- forwarder.ForwardPorts() }()
	t.Cleanup(func() {
		close(stop)
		<-ended
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- nil
		require.FailNow(t, "port-forward ended", err)
	}
	forwarded, err := forwarder.GetPorts()
	require.NoError(t, err)
	return forwarded
}

func TestRefusalsOfTheHostAreInVirtualNames(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		code       int
		body, want string
	}{
		"a Status": {
			404, `{"kind":"Status","status":"Failure","code":404,"reason":"NotFound","message":"pods \"` + hostPod + `\" not found"}`,
			`unable to upgrade connection: pods "web-0" not found`,
		},
		"kubelet's text": {
			500, "container app of pod " + hostPod + "_" + hostNamespace + " is not running",
			`unable to upgrade connection: container app of pod web-0_default is not running`,
		},
		"our own missing rights": {
			403, `{"kind":"Status","status":"Failure","code":403,"reason":"Forbidden","message":"pods \"` + hostPod +
				`\" is forbidden: User \"system:serviceaccount:hosts:t\" cannot create resource \"pods/exec\" in API group \"\" in the namespace \"hosts\""}`,
			"unable to upgrade connection: Internal error occurred: this cluster's own account may not create pods/exec on the host cluster; whoever runs it must grant that",
		},
		"a redirect": {302, "elsewhere", "unable to upgrade connection: unexpected answer of the host: 302"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for wayName, way := range ways {
				host := newFakeHost(t, func(w http.ResponseWriter, _ *http.Request) {
					w.WriteHeader(test.code)
					_, _ = io.WriteString(w, test.body)
				})
				tenant := start(t, host.config(), nil).tenant(t)
				location := podURL(t, tenant, "web-0", "exec", &corev1.PodExecOptions{Container: "app", Command: []string{"cat"}, Stdout: true})
				err := executor(t, tenant, way.websocket, location).StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: io.Discard})
				require.ErrorContains(t, err, test.want, wayName)
			}
		})
	}
}

func TestHostThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	tenant := start(t, &rest.Config{Host: "https://127.0.0.1:1"}, nil).tenant(t)
	location := podURL(t, tenant, "web-0", "exec", &corev1.PodExecOptions{Container: "app", Command: []string{"cat"}, Stdout: true})
	err := executor(t, tenant, false, location).StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: io.Discard})
	require.ErrorContains(t, err, "the host cluster's API does not answer")
	require.NotContains(t, err.Error(), "127.0.0.1")
}

func TestAStreamOutlivesTheTimeoutOfItsUpgrade(t *testing.T) {
	t.Parallel()
	server := start(t, newFakeHost(t, nil).config(), func(*Options) {})
	server.handler.upgradeTimeout = 3 * time.Second // which the handshakes of a busy machine do not take
	tenant := server.tenant(t)
	location := podURL(t, tenant, "web-0", "exec", &corev1.PodExecOptions{Container: "app", Command: []string{"cat"}, Stdin: true, Stdout: true})
	input, in := io.Pipe()
	out, output := io.Pipe()
	ended := make(chan error, 1)
	stream := executor(t, tenant, false, location)
	go func() {
		err := stream.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: input, Stdout: output})
		ended <- err
		// Who says something when it has ended learns why, and does not wait for ever.
		input.CloseWithError(err)
		output.CloseWithError(err)
	}()
	say := func(text string) {
		_, err := io.WriteString(in, text)
		require.NoError(t, err)
		answer := make([]byte, len(text))
		_, err = io.ReadFull(out, answer)
		require.NoError(t, err)
		require.Equal(t, text, string(answer))
	}
	say("early")
	<-time.After(2 * server.handler.upgradeTimeout) // the one wait: for the timer to have fired
	say("late")
	require.NoError(t, in.Close())
	require.NoError(t, <-ended)
}

func TestHeadersThatTheHostWouldObeyDoNotReachIt(t *testing.T) {
	t.Parallel()
	host := newFakeHost(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(acceptedProtocols, "v4.channel.k8s.io")
		w.Header().Set("Set-Cookie", "a=b")
		http.Error(w, "no", http.StatusForbidden)
	})
	server := start(t, host.config(), nil)
	client := &http.Client{Transport: server.kubeletTransport(t, clientName)}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://node/exec/default/web-0/app?command=cat&output=1", nil)
	require.NoError(t, err)
	request.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"SPDY/3.1"}, "X-Stream-Protocol-Version": {"v4.channel.k8s.io"},
		"Authorization": {"Bearer of-the-tenant"}, "Cookie": {"a=b"}, "Origin": {"https://evil"},
		"Impersonate-User": {"system:admin"}, "Impersonate-Group": {"system:masters"}, "Impersonate-Extra-Scopes": {"all"},
		"X-Remote-User": {"admin"}, "X-Forwarded-For": {"10.0.0.1"}, "Forwarded": {"for=10.0.0.1"}, "User-Agent": {"tenant"},
		"Sec-Websocket-Protocol": {"v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.dG9rZW4", "BASE64URL.bearer.authorization.k8s.io.dG9rZW4"},
	}
	answer, err := client.Do(request)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	require.Equal(t, http.StatusForbidden, answer.StatusCode)
	require.Equal(t, "v4.channel.k8s.io", answer.Header.Get(acceptedProtocols))
	require.Empty(t, answer.Header.Get("Set-Cookie"))

	require.Len(t, host.requests(), 1)
	header := host.requests()[0].Header
	agent := header.Get("User-Agent")
	require.NotContains(t, agent, "tenant")
	header.Del("User-Agent")
	require.Equal(t, http.Header{
		"Authorization": {"Bearer " + hostToken},
		"Connection":    {"Upgrade"}, "Upgrade": {"SPDY/3.1"}, "X-Stream-Protocol-Version": {"v4.channel.k8s.io"},
		"Sec-Websocket-Protocol": {"v4.channel.k8s.io"},
		"Content-Length":         header["Content-Length"], // net/http's own, for a POST without a body
	}, header)
}

func TestUpgradesThatAreNone(t *testing.T) {
	t.Parallel()
	host := newFakeHost(t, nil)
	server := start(t, host.config(), nil)
	client := &http.Client{Transport: server.kubeletTransport(t, clientName)}
	for name, header := range map[string]http.Header{
		"no upgrade": {},
		"to HTTP/2":  {"Connection": {"Upgrade"}, "Upgrade": {"h2c"}},
		"to a list":  {"Connection": {"Upgrade"}, "Upgrade": {"SPDY/3.1, h2c"}},
	} {
		t.Run(name, func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://node/exec/default/web-0/app?command=cat&output=1", nil)
			require.NoError(t, err)
			request.Header = header
			answer, err := client.Do(request)
			require.NoError(t, err)
			defer func() { _ = answer.Body.Close() }()
			require.Equal(t, http.StatusBadRequest, answer.StatusCode)
		})
	}
	require.Empty(t, host.requests())
}

func TestStopCutsStreams(t *testing.T) {
	t.Parallel()
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t, newFakeHost(t, nil).config(), nil)
			tenant := server.tenant(t, way.nodeFeatures...)
			location := podURL(t, tenant, "web-0", "exec", &corev1.PodExecOptions{Container: "app", Command: []string{"cat"}, Stdin: true, Stdout: true})
			input, in := io.Pipe()
			out, output := io.Pipe()
			ended := make(chan error, 1)
			go func() {
				ended <- executor(t, tenant, way.websocket, location).StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: input, Stdout: output})
			}()
			_, err := io.WriteString(in, "x")
			require.NoError(t, err)
			_, err = io.ReadFull(out, make([]byte, 1))
			require.NoError(t, err)

			began := time.Now()
			require.NoError(t, server.stop())
			require.Less(t, time.Since(began), stopTimeout)
			<-ended // cut: SPDY reports no error, WebSocket does
			require.NoError(t, in.Close())

			_, err = server.Dial(context.Background(), "tcp", "node:10250")
			require.True(t, errors.Is(err, errStopped), "%v", err)
		})
	}
}
