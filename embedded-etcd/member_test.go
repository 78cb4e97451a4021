package embeddedetcd_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
	clientv3 "go.etcd.io/etcd/client/v3"

	embeddedetcd "nestling.dev/nestling/embedded-etcd"
)

// run starts a member and waits until it is ready. stop ends it and returns
// what Run returned.
func run(t *testing.T, opts embeddedetcd.Options) (member *embeddedetcd.Member, stop func() error) {
	t.Helper()
	member = embeddedetcd.New(opts)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- member.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		cancel()
		t.Fatalf("the member did not start: %v", err)
	}
	stopped := false
	stop = func() error {
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() {
		if !stopped {
			_ = stop()
		}
	})
	return member, stop
}

// refusal is the error of a member that cannot start.
func refusal(t *testing.T, opts embeddedetcd.Options) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return embeddedetcd.New(opts).Run(ctx, func() { t.Error("it must not become ready") })
}

func connect(t *testing.T, member *embeddedetcd.Member) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{member.Endpoint()}, DialTimeout: 10 * time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// shortDir is a directory whose path leaves room for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "etcd")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "data")
}

func TestDataIsThereAfterARestart(t *testing.T) {
	t.Parallel()
	opts := embeddedetcd.Options{DataDir: shortDir(t), Owner: "team/blue", UnsafeNoFsync: true}

	member, stop := run(t, opts)
	_, err := connect(t, member).Put(t.Context(), "greeting", "hello")
	require.NoError(t, err)
	size, ok := member.Size()
	require.True(t, ok)
	require.Positive(t, size.InUse)
	require.GreaterOrEqual(t, size.Allocated, size.InUse)
	require.EqualValues(t, 2<<30, size.Quota)
	require.NoError(t, stop())
	_, ok = member.Size()
	require.False(t, ok)

	info, err := os.Stat(opts.DataDir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())

	member, stop = run(t, opts)
	found, err := connect(t, member).Get(t.Context(), "greeting")
	require.NoError(t, err)
	require.Len(t, found.Kvs, 1)
	require.Equal(t, "hello", string(found.Kvs[0].Value))
	require.NoError(t, stop())
}

func TestDirectoryInUseByAnotherMember(t *testing.T) {
	t.Parallel()
	opts := embeddedetcd.Options{DataDir: shortDir(t), UnsafeNoFsync: true}
	member, _ := run(t, opts)

	require.EqualError(t, refusal(t, opts), "data directory "+opts.DataDir+" is in use by another process")

	_, err := connect(t, member).Put(t.Context(), "greeting", "hello")
	require.NoError(t, err, "the first member still serves on its socket")
}

func TestDirectoryOfAnotherOwner(t *testing.T) {
	t.Parallel()
	opts := embeddedetcd.Options{DataDir: shortDir(t), Owner: "team/blue", UnsafeNoFsync: true}
	_, stop := run(t, opts)
	require.NoError(t, stop())
	before := listing(t, opts.DataDir)

	opts.Owner = "team/green"
	require.EqualError(t, refusal(t, opts), "data directory "+opts.DataDir+" belongs to team/blue, not to team/green")
	require.Equal(t, before, listing(t, opts.DataDir), "nothing in it was touched")
}

func TestDirectoryOfANewerEtcd(t *testing.T) {
	t.Parallel()
	opts := embeddedetcd.Options{DataDir: shortDir(t), UnsafeNoFsync: true}
	_, stop := run(t, opts)
	require.NoError(t, stop())

	db, err := bolt.Open(filepath.Join(opts.DataDir, "member/snap/db"), 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("storageVersion"), []byte("3.99.0"))
	}))
	require.NoError(t, db.Close())

	require.ErrorContains(t, refusal(t, opts), "data directory "+opts.DataDir+" was written by etcd 3.99; this is etcd 3.6.")
}

func TestDirectoriesThatCannotWork(t *testing.T) {
	t.Parallel()
	parent := shortDir(t)
	require.NoError(t, os.MkdirAll(parent, 0o700))
	file := filepath.Join(parent, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	broken := filepath.Join(parent, "broken")
	require.NoError(t, os.MkdirAll(filepath.Join(broken, "member/snap"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(broken, "member/snap/db"), []byte("no database"), 0o600))
	deep := filepath.Join(parent, strings.Repeat("deep", 25))

	tests := map[string]struct{ dir, message string }{
		"a relative path":         {"data", `data directory "data" must be an absolute path`},
		"a path that is a file":   {file, "create data directory: mkdir " + file + ": not a directory"},
		"a path that is too deep": {deep, "data directory " + deep + " is too deep"},
		"a broken database":       {broken, "read database " + broken + "/member/snap/db: "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.ErrorContains(t, refusal(t, embeddedetcd.Options{DataDir: test.dir}), test.message)
		})
	}
}

// listing is every file with its size and time of change.
func listing(t *testing.T, dir string) []string {
	t.Helper()
	var lines []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		lines = append(lines, strings.Join([]string{path, info.Mode().String(), info.ModTime().String()}, " "))
		return nil
	}))
	return lines
}
