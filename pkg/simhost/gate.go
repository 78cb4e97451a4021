package simhost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"nestling.dev/nestling/pkg/loopback"
)

// gate is a listener that can be shut and opened again: while it is shut, its
// port refuses connections and the ones that it had accepted are cut. To
// clients that is a stopped API server, and nothing in the server is lost.
type gate struct {
	address *net.TCPAddr // of every opening; the port does not change

	mu       sync.Mutex
	listener net.Listener          // nil while shut
	opened   chan struct{}         // closed while open
	conns    map[net.Conn]struct{} // accepted and not yet closed
	closed   chan struct{}
}

// newGate opens a port of 127.0.0.1; 0 is any that stays free while the gate is shut.
func newGate(port int) (*gate, error) {
	if port == 0 {
		free, err := loopback.FreePort()
		if err != nil {
			return nil, fmt.Errorf("simulated host: API: %w", err)
		}
		port = free
	}
	listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, fmt.Errorf("simulated host: API: %w", err)
	}
	g := &gate{
		address:  listener.Addr().(*net.TCPAddr),
		listener: listener,
		opened:   make(chan struct{}),
		conns:    map[net.Conn]struct{}{},
		closed:   make(chan struct{}),
	}
	close(g.opened)
	return g, nil
}

// Addr is the same for the whole life of the gate.
func (g *gate) Addr() net.Addr { return g.address }

// Accept waits while the gate is shut.
func (g *gate) Accept() (net.Conn, error) {
	for {
		g.mu.Lock()
		listener, opened := g.listener, g.opened
		g.mu.Unlock()

		if listener == nil {
			select {
			case <-opened:
				continue
			case <-g.closed:
				return nil, net.ErrClosed
			}
		}
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) && g.shutSince(listener) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if tracked, ok := g.track(listener, conn); ok {
			return tracked, nil
		}
		_ = conn.Close()
	}
}

// shutSince says whether listener is no longer the gate's, and the gate lives.
func (g *gate) shutSince(listener net.Listener) bool {
	select {
	case <-g.closed:
		return false
	default:
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.listener != listener
}

func (g *gate) track(listener net.Listener, conn net.Conn) (net.Conn, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listener != listener {
		return nil, false // shut between the accept and now
	}
	tracked := &gatedConn{Conn: conn, gate: g}
	g.conns[tracked] = struct{}{}
	return tracked, true
}

// shut refuses new connections and cuts the present ones.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listener == nil {
		return
	}
	_ = g.listener.Close()
	g.listener = nil
	g.opened = make(chan struct{})
	g.cut()
}

// cut ends all connections; mu is held.
func (g *gate) cut() {
	for conn := range g.conns {
		_ = conn.(*gatedConn).Conn.Close()
	}
	clear(g.conns)
}

// forsake ends what a closed gate's server has left: a connection that is made in the
// moment of the stop is on nobody's list.
func (g *gate) forsake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cut()
}

// open listens again on the same port. It keeps trying for a while: the port
// may serve as the local end of somebody's outgoing connection just now.
func (g *gate) open(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listener != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		listener, err := net.Listen("tcp4", g.address.String())
		if err == nil {
			g.listener = listener
			close(g.opened)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("simulated host: API: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Close ends Accept for good. Connections are left to the server.
func (g *gate) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.closed:
		return net.ErrClosed
	default:
	}
	close(g.closed)
	if g.listener == nil {
		return nil
	}
	return g.listener.Close()
}

// gatedConn forgets itself at the gate when it is closed.
type gatedConn struct {
	net.Conn
	gate *gate
}

func (c *gatedConn) Close() error {
	c.gate.mu.Lock()
	delete(c.gate.conns, c)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}
