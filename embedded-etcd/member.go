// Package embeddedetcd runs one etcd member inside the process, reachable only
// through a unix socket in its data directory.
//
// What it acknowledges is on disk: killing the process at any moment loses
// nothing. Data that is not this member's to use (locked by another process,
// owned by another tenant, written by a newer etcd) is refused, untouched.
package embeddedetcd

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/klog/v2"
)

// Options of a member.
type Options struct {
	// DataDir holds everything: the database, the socket, the owner file. It is
	// created, and made private, with mode 0700. The path of the socket in it
	// must stay under 100 characters, a limit of unix sockets.
	DataDir string

	// Owner says whose data this is, for example "namespace/tenant". It is
	// written beside the data at first start; data of another owner is refused.
	// Empty means not checked.
	Owner string

	// QuotaBytes is the size of the database at which etcd stops accepting
	// writes. Default 2 GiB, as upstream.
	QuotaBytes int64

	// UnsafeNoFsync trades durability for speed. For tests and the sandbox only.
	UnsafeNoFsync bool
}

// Member is one etcd server. It has the shape of a lifecycle component.
type Member struct {
	opts    Options
	running atomic.Pointer[embed.Etcd] // nil before it is ready, and once it stops
}

// New returns a member that is not running yet. It touches nothing.
func New(opts Options) *Member { return &Member{opts: opts} }

// Name of the component.
func (m *Member) Name() string { return "etcd" }

// Endpoint is where clients connect; it is known before Run.
func (m *Member) Endpoint() string { return "unix://" + m.socket() }

func (m *Member) socket() string { return filepath.Join(m.opts.DataDir, "etcd.sock") }

// Run starts the member, calls ready when it serves, and blocks until ctx ends
// and the member has closed its files.
func (m *Member) Run(ctx context.Context, ready func()) error {
	release, err := claim(m.opts, m.socket())
	if err != nil {
		return err
	}
	defer release()

	var serving atomic.Bool
	server, err := start(m.config(newZapLogger(klog.FromContext(ctx), &serving)))
	if err != nil {
		return fmt.Errorf("start on data directory %s: %w", m.opts.DataDir, err)
	}
	defer server.Close()
	defer serving.Store(false)
	defer m.running.Store(nil)

	select {
	case <-server.Server.ReadyNotify():
		serving.Store(true)
		m.running.Store(server)
		ready()
	case err := <-server.Err():
		return fmt.Errorf("serve %s: %w", m.Endpoint(), err)
	case <-ctx.Done():
		return nil
	}
	select {
	case err := <-server.Err():
		return fmt.Errorf("serve %s: %w", m.Endpoint(), err)
	case <-server.Server.StopNotify():
		return fmt.Errorf("the server of data directory %s stopped by itself", m.opts.DataDir)
	case <-ctx.Done():
		return nil
	}
}

// start turns the panics with which etcd reports a data directory that it
// cannot use into an error. A panic in a goroutine of etcd's still ends the
// process.
func start(config *embed.Config) (server *embed.Etcd, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			server, err = nil, fmt.Errorf("etcd gave up: %v", cause)
		}
	}()
	return embed.StartEtcd(config)
}
