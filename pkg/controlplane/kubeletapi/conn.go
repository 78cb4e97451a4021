package kubeletapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// dialTimeout bounds the wait for a server that is not running (yet).
const dialTimeout = 10 * time.Second

// errStopped is what a dialer gets from a server that has stopped.
var errStopped = errors.New("the in-process kubelet API has stopped")

// memory is a listener without a network: connections are pairs of unix sockets.
//
// net.Pipe would save the file descriptors, but it has no buffer: when both ends
// write first, as TLS and SPDY may, both block for good. The kernel's sockets have
// buffers, deadlines with the errors that crypto/tls expects, and half-close.
type memory struct {
	accept  chan net.Conn
	stopped chan struct{}
	stop    sync.Once
}

func newMemory() *memory {
	return &memory{accept: make(chan net.Conn), stopped: make(chan struct{})}
}

// Dial connects to the listener.
func (m *memory) Dial(ctx context.Context) (net.Conn, error) {
	client, server, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("connect to the in-process kubelet API: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	select {
	case m.accept <- server:
		return client, nil
	case <-m.stopped:
		err = errStopped
	case <-ctx.Done():
		err = fmt.Errorf("connect to the in-process kubelet API: %w", ctx.Err())
	}
	return nil, errors.Join(err, client.Close(), server.Close())
}

// Accept is part of net.Listener.
func (m *memory) Accept() (net.Conn, error) {
	select {
	case conn := <-m.accept:
		return conn, nil
	case <-m.stopped:
		return nil, net.ErrClosed
	}
}

// Close is part of net.Listener. Connections stay open.
func (m *memory) Close() error {
	m.stop.Do(func() { close(m.stopped) })
	return nil
}

// Addr is part of net.Listener.
func (m *memory) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: "kubelet-api"} }

// socketPair is two connected, anonymous unix sockets.
func socketPair() (net.Conn, net.Conn, error) {
	// Without SOCK_CLOEXEC, which not every system has, a program that is started at
	// this moment would inherit the sockets and keep them open.
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	first, firstErr := fileConn(fds[0])
	second, secondErr := fileConn(fds[1])
	if err := errors.Join(firstErr, secondErr); err != nil {
		for _, conn := range []net.Conn{first, second} {
			if conn != nil {
				err = errors.Join(err, conn.Close())
			}
		}
		return nil, nil, err
	}
	return first, second, nil
}

// fileConn is the socket fd as a connection of the runtime's poller; it owns fd.
func fileConn(fd int) (net.Conn, error) {
	file := os.NewFile(uintptr(fd), "kubelet-api")
	conn, err := net.FileConn(file) // duplicates fd and makes it non-blocking
	return conn, errors.Join(err, file.Close())
}
