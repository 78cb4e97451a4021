package controlplane_test

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	embeddedetcd "nestling.dev/nestling/embedded-etcd"
	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/lifecycle"
)

// notifyingListener tells of its first connection.
type notifyingListener struct {
	net.Listener
	first func()
}

func (l *notifyingListener) Accept() (net.Conn, error) {
	connection, err := l.Listener.Accept()
	l.first()
	return connection, err
}

// TestStopWhileStarting would end the test process, as it would end the
// product's, if upstream's start hooks were interrupted.
func TestStopWhileStarting(t *testing.T) {
	p := newPlane(t)
	ctx, cancel := context.WithCancel(t.Context())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	etcd := embeddedetcd.New(embeddedetcd.Options{DataDir: filepath.Join(p.dir, "etcd"), UnsafeNoFsync: true})
	server, err := controlplane.NewAPIServer(controlplane.APIServerOptions{
		EtcdEndpoint:     etcd.Endpoint(),
		PKI:              p.bundle,
		Dir:              filepath.Join(p.dir, "apiserver"),
		Listener:         &notifyingListener{Listener: listener, first: cancel},
		AdvertiseAddress: net.ParseIP("192.0.2.1"),
		SettleTimeout:    patience, // a busy machine's hooks need more than the default
	})
	require.NoError(t, err)
	require.NoError(t, lifecycle.Run(ctx, []lifecycle.Component{etcd, server}, lifecycle.Options{StopTimeout: patience}))
}
