package simhost

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"nestling.dev/nestling/pkg/leaktest"
)

func TestGate(t *testing.T) {
	defer leaktest.VerifyNone(t, goleak.IgnoreCurrent())
	g, err := newGate(0)
	require.NoError(t, err)

	// A server that greets everyone and then waits for the other end to close.
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := g.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = conn.Write([]byte("hello"))
				_, _ = io.Copy(io.Discard, conn)
			}()
		}
	}()
	greeted := func() net.Conn {
		conn, err := net.Dial("tcp", g.Addr().String())
		require.NoError(t, err)
		_, err = io.ReadFull(conn, make([]byte, len("hello")))
		require.NoError(t, err)
		return conn
	}

	conn := greeted()
	g.shut()
	g.shut() // no harm
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err, "the connection is cut")
	require.NoError(t, conn.Close())
	_, err = net.Dial("tcp", g.Addr().String())
	require.ErrorContains(t, err, "refused")

	require.NoError(t, g.open(t.Context()))
	require.NoError(t, g.open(t.Context()))
	require.NoError(t, greeted().Close())

	require.NoError(t, g.Close())
	<-served
	require.ErrorIs(t, g.Close(), net.ErrClosed)
}

func TestAShutGateCloses(t *testing.T) {
	t.Parallel()
	g, err := newGate(0)
	require.NoError(t, err)
	g.shut()
	accepted := make(chan error, 1)
	go func() {
		_, err := g.Accept()
		accepted <- err
	}()
	require.NoError(t, g.Close())
	require.ErrorIs(t, <-accepted, net.ErrClosed)
}
