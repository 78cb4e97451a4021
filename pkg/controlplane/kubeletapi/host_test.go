package kubeletapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strconv"
	"sync"
	"testing"
	"time"

	utilproxy "k8s.io/apimachinery/pkg/util/proxy"
	"k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/exec"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

const (
	hostNamespace = "hosts"
	hostPod       = "t-default-web-0-abc"
	hostToken     = "of-this-cluster"
	hostPath      = "/api/v1/namespaces/" + hostNamespace + "/pods/" + hostPod
)

// fakeHost is the host's API server and kubelet in one: upstream's stream servers
// behind the paths of the pod subresources. It notes what it is asked.
type fakeHost struct {
	*httptest.Server
	// answer takes the place of everything else, if set.
	answer http.HandlerFunc

	mutex sync.Mutex
	asked []*http.Request
}

func newFakeHost(t testing.TB, answer http.HandlerFunc) *fakeHost {
	t.Helper()
	host := &fakeHost{answer: answer}
	// The kubelet behind the API server, which translates version 5 for it.
	kubelet := httptest.NewServer(http.HandlerFunc(serveKubelet))
	t.Cleanup(kubelet.Close)
	host.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host.mutex.Lock()
		host.asked = append(host.asked, r.Clone(context.Background()))
		host.mutex.Unlock()
		switch {
		case r.Header.Get("Authorization") != "Bearer "+hostToken:
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
		case host.answer != nil:
			host.answer(w, r)
		case path.Dir(r.URL.Path) != hostPath:
			http.NotFound(w, r)
		case wsstream.IsWebSocketRequestWithStreamCloseProtocol(r):
			translate(w, r, kubelet.URL)
		case wsstream.IsWebSocketRequestWithTunnelingProtocol(r):
			tunnel(w, r, kubelet.URL)
		default:
			serveKubelet(w, r)
		}
	}))
	t.Cleanup(host.Close)
	return host
}

func (h *fakeHost) config() *rest.Config {
	certificate := h.Certificate()
	return &rest.Config{
		Host:            h.URL,
		BearerToken:     hostToken,
		TLSClientConfig: rest.TLSClientConfig{CAData: pemOf(certificate.Raw), ServerName: "example.com"},
	}
}

// requests that have been made so far.
func (h *fakeHost) requests() []*http.Request {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return append([]*http.Request(nil), h.asked...)
}

// translate is what the API server does with version 5 of the stream protocol.
func translate(w http.ResponseWriter, r *http.Request, kubelet string) {
	location, err := url.Parse(kubelet + r.URL.RequestURI())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	is := func(key string) bool { return r.URL.Query().Get(key) == "true" }
	proxy.NewStreamTranslatorHandler(location, http.DefaultTransport, 0, proxy.Options{
		Stdin: is("stdin"), Stdout: is("stdout"), Stderr: is("stderr"), Tty: is("tty"),
	}).ServeHTTP(w, r)
}

// tunnel is what the API server does with SPDY inside of a WebSocket.
func tunnel(w http.ResponseWriter, r *http.Request, kubelet string) {
	location, err := url.Parse(kubelet + r.URL.RequestURI())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	upgrade := utilproxy.NewUpgradeAwareHandler(location, http.DefaultTransport, false, true, nil)
	proxy.NewTunnelingHandler(upgrade).ServeHTTP(w, r)
}

// serveKubelet reads the host API's parameters and serves the streams.
func serveKubelet(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	is := func(key string) bool { return query.Get(key) == "true" }
	streams := &remotecommand.Options{Stdin: is("stdin"), Stdout: is("stdout"), Stderr: is("stderr"), TTY: is("tty")}
	pod, container := path.Base(path.Dir(r.URL.Path)), query.Get("container")
	switch path.Base(r.URL.Path) {
	case "exec":
		remotecommand.ServeExec(w, r, containers{}, pod, "", container, query["command"], streams, time.Minute, time.Minute, remotecommand.SupportedStreamingProtocols)
	case "attach":
		remotecommand.ServeAttach(w, r, containers{}, pod, "", container, streams, time.Minute, time.Minute, remotecommand.SupportedStreamingProtocols)
	case "portforward":
		options := &portforward.V4Options{}
		for _, text := range query["ports"] {
			port, _ := strconv.ParseInt(text, 10, 32)
			options.Ports = append(options.Ports, int32(port))
		}
		portforward.ServePortForward(w, r, containers{}, pod, "", options, time.Minute, time.Minute, portforward.SupportedProtocols)
	default:
		http.NotFound(w, r)
	}
}

// containers run a few programs.
type containers struct{}

func (containers) ExecInContainer(ctx context.Context, _, _, _ string, command []string, in io.Reader, out, err io.WriteCloser, _ bool, resize <-chan remotecommand.TerminalSize, _ time.Duration) error {
	switch command[0] {
	case "cat":
		_, copyErr := io.Copy(out, in)
		return copyErr
	case "both":
		_, outErr := io.WriteString(out, "to stdout")
		_, errErr := io.WriteString(err, "to stderr")
		return errors.Join(outErr, errErr)
	case "exit":
		code, _ := strconv.Atoi(command[1])
		return exec.CodeExitError{Code: code, Err: fmt.Errorf("exit status %d", code)}
	case "size":
		size := <-resize
		_, outErr := fmt.Fprintf(out, "%dx%d", size.Width, size.Height)
		return outErr
	case "flood": // until the other side goes
		for block := make([]byte, 64<<10); ; {
			if _, outErr := out.Write(block); outErr != nil {
				return outErr
			}
		}
	}
	return fmt.Errorf("%q: executable file not found", command[0])
}

func (c containers) AttachContainer(ctx context.Context, name, uid, container string, in io.Reader, out, err io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize) error {
	return c.ExecInContainer(ctx, name, uid, container, []string{"cat"}, in, out, err, tty, resize, 0)
}

// PortForward reaches a service on each port that says its number, then echoes.
func (containers) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	if port == 1 {
		return errors.New("connection refused")
	}
	if _, err := fmt.Fprintf(stream, "port %d: ", port); err != nil {
		return err
	}
	_, err := io.Copy(stream, stream)
	return err
}
