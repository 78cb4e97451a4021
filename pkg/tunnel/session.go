package tunnel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport"
	"k8s.io/client-go/transport/websocket"
	streamhttp "k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

const (
	// dialTimeout is for a host that accepts a connection and says nothing.
	dialTimeout = 20 * time.Second
	// pingPeriod keeps the tables of load balancers and firewalls in mind of a quiet session.
	pingPeriod = 10 * time.Second
	// refusalBytes is all that is read of an answer that is no upgrade.
	refusalBytes = 64 << 10

	spdyProtocol = "SPDY/3.1"
	// tunnelled is SPDY within a WebSocket.
	tunnelled = "SPDY/3.1+" + portforward.PortForwardProtocolV1Name
)

// dialer makes sessions with the host.
type dialer struct {
	host      *rest.Config
	namespace string
	port      int
	client    rest.Interface
	plain     *http.Transport
	upgrading http.RoundTripper // plain, with the credentials
	// onlySPDY is set once the host, or a proxy before it, has refused WebSockets and taken SPDY.
	onlySPDY atomic.Bool
}

func newDialer(host *rest.Config, namespace string, port int) (*dialer, error) {
	fail := func(err error) (*dialer, error) { return nil, fmt.Errorf("prepare the tunnel: %w", err) }
	config := rest.CopyConfig(host)
	config.APIPath, config.GroupVersion = "/api", &corev1.SchemeGroupVersion
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return fail(err)
	}
	settings, err := host.TransportConfig()
	if err != nil {
		return fail(err)
	}
	tls, err := transport.TLSConfigFor(settings)
	if err != nil {
		return fail(err)
	}
	if tls != nil {
		tls.NextProtos = []string{"http/1.1"} // HTTP/2 has no upgrades
	}
	plain := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: tls, TLSHandshakeTimeout: dialTimeout}
	if host.Proxy != nil {
		plain.Proxy = host.Proxy
	}
	if settings.DialHolder != nil {
		plain.DialContext = settings.DialHolder.Dial
	}
	upgrading, err := transport.HTTPWrappersForConfig(settings, plain)
	if err != nil {
		return fail(err)
	}
	return &dialer{host: host, namespace: namespace, port: port, client: client, plain: plain, upgrading: upgrading}, nil
}

func (d *dialer) close() { d.plain.CloseIdleConnections() }

// open makes a session with a pod and a stream to its port.
func (d *dialer) open(ctx context.Context, pod string) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := d.connect(ctx, d.client.Get().Namespace(d.namespace).Resource("pods").Name(pod).SubResource("portforward").URL())
	if err != nil {
		return nil, fmt.Errorf("forward to pod %s/%s: %w", d.namespace, pod, err)
	}
	conn = &closedOnce{Conn: conn}
	streams, err := spdy.NewClientConnectionWithPings(conn, pingPeriod)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("forward to pod %s/%s: %w", d.namespace, pod, err)
	}
	s := &session{conn: conn, streams: streams, refused: make(chan string, 1)}
	// Creating a stream waits for an answer, and knows no context.
	unbound := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err = s.start(d.port)
	if !unbound() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("forward to pod %s/%s: %w", d.namespace, pod, err)
	}
	return s, nil
}

// connect upgrades a connection: by WebSocket, and by SPDY where that does not get through, as kubectl does. A refusal
// is no reason not to try: the two ask for different verbs, and older hosts know one of them only.
func (d *dialer) connect(ctx context.Context, to *url.URL) (net.Conn, error) {
	if d.onlySPDY.Load() {
		return d.bySPDY(ctx, to)
	}
	conn, err := d.byWebSocket(ctx, to)
	if err == nil || apierrors.IsNotFound(err) || !(streamhttp.IsUpgradeFailure(err) || streamhttp.IsHTTPSProxyError(err)) {
		return conn, cause(err)
	}
	conn, err = d.bySPDY(ctx, to)
	d.onlySPDY.CompareAndSwap(false, err == nil)
	return conn, err
}

func (d *dialer) byWebSocket(ctx context.Context, to *url.URL) (net.Conn, error) {
	tripper, holder, err := websocket.RoundTripperFor(d.host)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return nil, err
	}
	conn, err := websocket.Negotiate(tripper, holder, request, tunnelled)
	if err != nil {
		return nil, err
	}
	return portforward.NewTunnelingConnection("tunnel", conn), nil
}

func (d *dialer) bySPDY(ctx context.Context, to *url.URL) (net.Conn, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set(httpstream.HeaderConnection, httpstream.HeaderUpgrade)
	request.Header.Set(httpstream.HeaderUpgrade, spdyProtocol)
	request.Header.Set(httpstream.HeaderProtocolVersion, portforward.PortForwardProtocolV1Name)
	answer, err := d.upgrading.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		defer answer.Body.Close()
		return nil, refusal(answer)
	}
	body, ok := answer.Body.(io.ReadWriteCloser)
	if !ok || !strings.EqualFold(answer.Header.Get(httpstream.HeaderUpgrade), spdyProtocol) {
		_ = answer.Body.Close()
		return nil, errors.New("the host's answer is no upgrade to SPDY")
	}
	return bodyConn{body}, nil
}

// refusal is what the host said instead of an upgrade.
func refusal(answer *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(answer.Body, refusalBytes))
	var status metav1.Status
	if json.Unmarshal(text, &status) == nil && status.Kind == "Status" {
		return &apierrors.StatusError{ErrStatus: status}
	}
	return fmt.Errorf("%s: %s", answer.Status, strings.TrimSpace(string(text)))
}

// cause takes the words "unable to upgrade streaming request" off an answer of the host that says it all.
func cause(err error) error {
	var status *apierrors.StatusError
	if errors.As(err, &status) {
		return status
	}
	return err
}

// session is a connection of a client's on the host's side.
type session struct {
	conn    net.Conn
	streams streamhttp.Connection
	data    streamhttp.Stream
	// refused gets what went wrong at the pod, or "" when the host has nothing to say.
	refused chan string
}

func (s *session) start(port int) error {
	headers := http.Header{}
	headers.Set(corev1.PortHeader, strconv.Itoa(port))
	headers.Set(corev1.PortForwardRequestIDHeader, "0")
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	errs, err := s.streams.CreateStream(headers)
	if err != nil {
		return err
	}
	_ = errs.Close() // we have nothing to say on it
	go func() {
		text, _ := io.ReadAll(io.LimitReader(errs, refusalBytes))
		s.refused <- strings.TrimSpace(string(text))
	}()
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	s.data, err = s.streams.CreateStream(headers)
	return err
}

// close ends the session at once: what is on its way is of no use to anybody. The connection goes first, because
// farewells to a host that does not read would block.
func (s *session) close() {
	_ = s.conn.Close()
	_ = s.streams.Close()
}

// closedOnce keeps the stream library from an error, and a second of waiting for someone to take it, that a connection
// was closed before.
type closedOnce struct {
	net.Conn
	once sync.Once
}

func (c *closedOnce) Close() (err error) {
	c.once.Do(func() { err = c.Conn.Close() })
	return err
}

// bodyConn is the connection behind an upgraded answer. Nobody asks it for addresses or deadlines.
type bodyConn struct{ io.ReadWriteCloser }

func (bodyConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (bodyConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (bodyConn) SetDeadline(time.Time) error      { return nil }
func (bodyConn) SetReadDeadline(time.Time) error  { return nil }
func (bodyConn) SetWriteDeadline(time.Time) error { return nil }
