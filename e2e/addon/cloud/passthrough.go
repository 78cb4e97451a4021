package cloud

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
)

const (
	// passThrough on an Ingress leaves TLS to its backend, as ingress-nginx does.
	passThrough = "nginx.ingress.kubernetes.io/ssl-passthrough"
	// helloPatience is how long a client may take to say which host it wants.
	helloPatience = 10 * time.Second
)

// splitter is the listener for TLS: connections to hosts whose Ingress passes TLS through go to the backend as they
// are; Accept has the others.
type splitter struct {
	net.Listener
	cloud  *Cloud
	others chan net.Conn
	ctx    context.Context // of the connections
	cancel context.CancelFunc
	open   sync.WaitGroup
}

func (c *Cloud) split(ctx context.Context, listener net.Listener) *splitter {
	s := &splitter{Listener: listener, cloud: c, others: make(chan net.Conn)}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.open.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				s.cancel()
				return
			}
			s.open.Go(func() { s.meet(conn) })
		}
	})
	return s
}

func (s *splitter) Accept() (net.Conn, error) {
	select {
	case conn := <-s.others:
		return conn, nil
	case <-s.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close ends the connections that are passed through, too.
func (s *splitter) Close() error {
	err := s.Listener.Close()
	s.cancel()
	s.open.Wait()
	return err
}

// meet reads what a client says first, and decides.
func (s *splitter) meet(conn net.Conn) {
	name, said := hello(conn)
	whole := &replayed{Conn: conn, first: io.MultiReader(bytes.NewReader(said), conn)}
	address := s.cloud.passedThrough(name)
	if address == "" {
		select {
		case s.others <- whole:
		case <-s.ctx.Done():
			_ = conn.Close()
		}
		return
	}
	defer conn.Close()
	backend, err := new(net.Dialer).DialContext(s.ctx, "tcp", address)
	if err != nil {
		return
	}
	defer backend.Close()
	stop := context.AfterFunc(s.ctx, func() { _, _ = conn.Close(), backend.Close() })
	defer stop()
	ended := make(chan struct{}, 2)
	for _, way := range []struct {
		to   io.Writer
		from io.Reader
	}{{backend, whole.first}, {conn, backend}} {
		go func() {
			_, _ = io.Copy(way.to, way.from)
			ended <- struct{}{}
		}()
	}
	<-ended
	_, _ = conn.Close(), backend.Close()
	<-ended
}

// passedThrough is the backend of a host whose Ingress leaves TLS to it; empty if there is none.
func (c *Cloud) passedThrough(host string) string {
	for _, object := range c.ingress.List() {
		ingress := object.(*networkingv1.Ingress)
		if !ours(ingress) || ingress.Annotations[passThrough] != "true" || !c.backends {
			continue
		}
		for _, rule := range ingress.Spec.Rules {
			if rule.Host != host || rule.HTTP == nil || len(rule.HTTP.Paths) == 0 {
				continue
			}
			if backend := rule.HTTP.Paths[0].Backend.Service; backend != nil {
				if address, err := c.address(ingress.Namespace, backend); err == nil {
					return address
				}
			}
		}
	}
	return ""
}

var errHeard = errors.New("heard enough")

// hello returns the host that a client wants, and all that was read of it.
func hello(conn net.Conn) (name string, said []byte) {
	var read bytes.Buffer
	_ = conn.SetReadDeadline(time.Now().Add(helloPatience))
	_ = tls.Server(&mute{Conn: conn, from: io.TeeReader(conn, &read)}, &tls.Config{
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			name = hello.ServerName
			return nil, errHeard
		},
	}).Handshake() // always fails
	_ = conn.SetReadDeadline(time.Time{})
	return name, read.Bytes()
}

// mute listens only.
type mute struct {
	net.Conn
	from io.Reader
}

func (m *mute) Read(b []byte) (int, error)  { return m.from.Read(b) }
func (m *mute) Write(b []byte) (int, error) { return len(b), nil }
func (m *mute) Close() error                { return nil }

// replayed reads first what was read before.
type replayed struct {
	net.Conn
	first io.Reader
}

func (r *replayed) Read(b []byte) (int, error) { return r.first.Read(b) }
