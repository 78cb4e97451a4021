package kubeletapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/klog/v2"
)

const (
	// defaultUpgradeTimeout bounds the wait for the host's answer to an upgrade: its
	// admission webhooks have up to 30 s, and then the node's kubelet is asked.
	defaultUpgradeTimeout = time.Minute

	// linger is how long a client may take to hang up after the host did.
	linger = time.Second

	websocketProtocols = "Sec-Websocket-Protocol"
	// bearerProtocol begins a WebSocket subprotocol that is a credential in disguise,
	// which the host would take as one.
	bearerProtocol = "base64url.bearer.authorization.k8s.io."
)

// upgradeRequestHeaders are the headers of the client that reach the host. Others do
// not, above all Authorization, Cookie and Impersonate-*: the host would obey them.
var upgradeRequestHeaders = []string{
	"Upgrade", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Extensions", websocketProtocols,
	httpstream.HeaderProtocolVersion,
}

// upgradeAnswerHeaders are the headers of the host that reach the client.
var upgradeAnswerHeaders = []string{
	"Connection", "Upgrade", "Sec-Websocket-Accept", "Sec-Websocket-Extensions", websocketProtocols,
	httpstream.HeaderProtocolVersion,
}

// stream upgrades the connection to the host and then the client's, and joins them.
//
// apimachinery's UpgradeAwareHandler does nearly this, but hands the host's refusals
// to the client as they are, host names included.
func (h *handler) stream(w http.ResponseWriter, r *http.Request, found call, options runtime.Object) {
	if !httpstream.IsUpgradeRequest(r) {
		refuse(w, http.StatusBadRequest, "Upgrade request required")
		return
	}
	switch strings.ToLower(r.Header.Get("Upgrade")) {
	case "spdy/3.1", "websocket":
	default:
		refuse(w, http.StatusBadRequest, "unable to upgrade: neither SPDY nor WebSocket")
		return
	}

	ctx, cancel := context.WithTimeout(r.Context(), h.upgradeTimeout)
	defer cancel()
	answer, err := h.upgrade(ctx, r, found, options)
	if err != nil {
		refuseUnreachable(w, r, found, err)
		return
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusSwitchingProtocols {
		refuseAs(w, found, answer)
		return
	}
	host, ok := answer.Body.(io.ReadWriteCloser)
	if !ok {
		refuseUnreachable(w, r, found, errors.New("a client-go transport wrapper hides the upgraded connection"))
		return
	}

	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		refuseUnreachable(w, r, found, fmt.Errorf("take over the connection: %w", err))
		return
	}
	defer func() { _ = conn.Close() }()
	if err := writeSwitch(conn, answer.Header); err != nil {
		return // the client has gone
	}
	reason := join(r.Context(), client{conn, buffered.Reader}, host)
	klog.FromContext(r.Context()).V(4).Info("Stream ended", "pod", klog.KRef(found.namespace, found.pod), "action", found.action, "reason", reason)
}

// upgrade asks the host to upgrade. An answer of 101 has a body that is the connection,
// and no longer depends on ctx.
func (h *handler) upgrade(ctx context.Context, r *http.Request, found call, options runtime.Object) (*http.Response, error) {
	request, err := h.host.request(ctx, r.Method, found.target, subresource[found.action], options)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Connection", "Upgrade")
	copyHeaders(request.Header, r.Header, upgradeRequestHeaders)
	withoutCredentials(request.Header)
	return h.host.transport.RoundTrip(request)
}

func copyHeaders(to, from http.Header, keys []string) {
	for _, key := range keys {
		if values := from.Values(key); len(values) > 0 {
			to[http.CanonicalHeaderKey(key)] = values
		}
	}
}

// withoutCredentials drops the WebSocket subprotocols that are credentials.
func withoutCredentials(header http.Header) {
	var kept []string
	for _, list := range header.Values(websocketProtocols) {
		for protocol := range strings.SplitSeq(list, ",") {
			protocol = strings.TrimSpace(protocol)
			if protocol != "" && !strings.HasPrefix(strings.ToLower(protocol), bearerProtocol) {
				kept = append(kept, protocol)
			}
		}
	}
	header.Del(websocketProtocols)
	if len(kept) > 0 {
		header.Set(websocketProtocols, strings.Join(kept, ", "))
	}
}

// writeSwitch tells the client that its connection is upgraded.
func writeSwitch(client io.Writer, answer http.Header) error {
	header := http.Header{}
	copyHeaders(header, answer, upgradeAnswerHeaders)
	var text bytes.Buffer
	text.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = header.Write(&text) // a buffer does not fail
	text.WriteString("\r\n")
	_, err := client.Write(text.Bytes())
	return err
}

// client is a connection that was taken over from the HTTP server, which may have read
// ahead.
type client struct {
	net.Conn
	buffered io.Reader
}

func (c client) Read(p []byte) (int, error) { return c.buffered.Read(p) }

// join copies in both directions until one side ends or ctx does, then closes both and
// waits for the copying to end.
func join(ctx context.Context, client client, host io.ReadWriteCloser) (reason string) {
	fromClient, fromHost := make(chan string, 1), make(chan string, 1)
	go func() {
		_, err := io.Copy(host, client)
		fromClient <- because("client", err)
	}()
	go func() {
		_, err := io.Copy(client, host)
		fromHost <- because("host", err)
	}()
	select {
	case reason = <-fromHost:
		_ = host.Close()
		client.finish()
		<-fromClient
		client.drain()
		_ = client.Close()
		return reason
	case reason = <-fromClient:
		fromClient <- reason
	case <-ctx.Done():
		reason = "stopped"
	}
	_ = client.Close()
	_ = host.Close()
	<-fromClient
	<-fromHost
	return reason
}

// finish tells the client that nothing more comes, and gives it a while to hang up. A
// socket that is closed with something unread, a farewell for instance, breaks the
// connection, and takes what the client has not read yet with it.
func (c client) finish() {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = c.SetReadDeadline(time.Now().Add(linger))
}

// drain reads until the client hangs up, or its time is over.
func (c client) drain() { _, _ = io.Copy(io.Discard, c) }

func because(side string, err error) string {
	if err != nil {
		return side + ": " + err.Error()
	}
	return side + " ended it"
}
