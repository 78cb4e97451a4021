// Package embeddedetcd runs one etcd member inside the process, reachable only
// through a unix socket in its data directory.
package embeddedetcd

import (
	"context"
	"errors"
	"path/filepath"
)

// Options of a member.
type Options struct {
	// DataDir holds everything: the database, the socket, the owner file. It is
	// created with mode 0700. Its path plus the socket's name must stay under
	// 100 characters, a limit of unix sockets.
	DataDir string

	// Owner says whose data this is, for example "namespace/tenant". It is
	// written beside the data at first start; data of another owner is refused,
	// untouched. Empty means not checked.
	Owner string

	// QuotaBytes is the size at which etcd stops accepting writes. Default 2 GiB.
	QuotaBytes int64

	// UnsafeNoFsync trades durability for speed. For tests and the sandbox only.
	UnsafeNoFsync bool
}

// Member is one etcd server. It has the shape of a lifecycle component.
type Member struct{ opts Options }

// New returns a member that is not running yet. It touches nothing.
func New(opts Options) *Member { return &Member{opts: opts} }

// Name of the component.
func (m *Member) Name() string { return "etcd" }

// Endpoint is where clients connect; it is known before Run.
func (m *Member) Endpoint() string { return "unix://" + filepath.Join(m.opts.DataDir, "etcd.sock") }

// Run starts the member, calls ready when it serves, and blocks until ctx ends.
func (m *Member) Run(ctx context.Context, ready func()) error {
	return errors.New("etcd: not written yet")
}
