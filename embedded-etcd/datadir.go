package embeddedetcd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
)

// maxSocketPath is what fits into sockaddr_un (108 bytes on Linux), with a margin.
const maxSocketPath = 99

// claim makes the data directory this process's own, or says why it cannot be.
// No data is changed.
func claim(opts Options, socket string) (release func(), err error) {
	dir := opts.DataDir
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("data directory %q must be an absolute path", dir)
	}
	if len(socket) > maxSocketPath {
		return nil, fmt.Errorf("data directory %s is too deep: the socket's path %s has %d characters, at most %d work",
			dir, socket, len(socket), maxSocketPath)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	if _, err := os.ReadDir(dir); err != nil {
		return nil, fmt.Errorf("read data directory: %w", err)
	}

	// 1. Another's directory is left alone entirely.
	if err := checkOwner(dir, opts.Owner); err != nil {
		return nil, err
	}

	// 2. The lock comes before etcd: it would remove the other process's socket,
	//    then wait for ever for the lock of the database.
	lock, err := fileutil.TryLockFile(filepath.Join(dir, "lock"), os.O_WRONLY|os.O_CREATE, 0o600)
	if errors.Is(err, fileutil.ErrLocked) {
		return nil, fmt.Errorf("data directory %s is in use by another process", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	defer func() {
		if err != nil {
			_ = lock.Close()
		}
	}()

	// 3. Look at the data, then mark it as ours. Another process may have
	//    marked it since.
	if err := checkOwner(dir, opts.Owner); err != nil {
		return nil, err
	}
	if err := checkVersion(dir); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory private: %w", err)
	}
	if err := writeOwner(dir, opts.Owner); err != nil {
		return nil, fmt.Errorf("mark data directory as owned by %s: %w", opts.Owner, err)
	}
	return func() { _ = lock.Close() }, nil
}

func ownerFile(dir string) string { return filepath.Join(dir, "owner") }

// checkOwner accepts a directory without an owner: it is new, or was restored
// by hand.
func checkOwner(dir, owner string) error {
	if owner == "" {
		return nil
	}
	content, err := os.ReadFile(ownerFile(dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the owner of data directory: %w", err)
	}
	if found := strings.TrimSpace(string(content)); found != owner {
		return fmt.Errorf("data directory %s belongs to %s, not to %s", dir, found, owner)
	}
	return nil
}

// writeOwner is atomic and on disk before the first data is.
func writeOwner(dir, owner string) error {
	if owner == "" {
		return nil
	}
	if _, err := os.Stat(ownerFile(dir)); err == nil {
		return nil
	}
	temporary := ownerFile(dir) + ".new"
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(owner + "\n")
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(temporary, ownerFile(dir)); err != nil {
		return err
	}
	parent, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}
