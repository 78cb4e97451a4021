package command

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"nestling.dev/nestling/pkg/sandbox"
)

// dirPrefix starts the names of the directories that sandboxes live in.
const dirPrefix = "nestling-sandbox-"

// lockName is the file in such a directory that is locked for as long as keeper
// or worker lives.
const lockName = "lock"

// newDir makes the directory of a sandbox and locks it. The lock is held by
// whoever has the file open, children that inherit it included.
func newDir() (dir string, lock *os.File, err error) {
	dir, err = os.MkdirTemp("", dirPrefix)
	if err != nil {
		return "", nil, err
	}
	lock, err = os.Create(filepath.Join(dir, lockName+".new"))
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	// Under its final name only when locked: sweep takes unlocked ones for dead.
	err = errors.Join(
		syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB),
		os.Rename(lock.Name(), filepath.Join(dir, lockName)),
	)
	if err != nil {
		return "", nil, errors.Join(err, lock.Close(), os.RemoveAll(dir))
	}
	return dir, lock, nil
}

// sweep removes what sandboxes have left that were killed together with their
// keepers. It touches only directories of this user whose lock is free.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() {
			continue
		}
		if owner, ok := info.Sys().(*syscall.Stat_t); !ok || int(owner.Uid) != os.Getuid() {
			continue
		}
		lock, err := os.Open(filepath.Join(dir, lockName))
		if err != nil {
			continue
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = removeDir(dir)
		}
		_ = lock.Close()
	}
}

// removeDir removes a directory in which a process that is being killed may
// still make a last file.
func removeDir(dir string) error {
	var err error
	for range 50 {
		if err = os.RemoveAll(dir); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("remove %s: %w", dir, err)
}

// writeKubeconfigs writes what was asked for, and marks it as ours.
func (s *settings) writeKubeconfigs(running *sandbox.Sandbox) error {
	if err := writeKubeconfig(s.kubeconfig, running.Tenant(s.tenant).Kubeconfig()); err != nil {
		return err
	}
	if s.hostKubeconfig == "" {
		return nil
	}
	text, err := running.HostKubeconfig()
	if err != nil {
		return err
	}
	return writeKubeconfig(s.hostKubeconfig, text)
}

// writeKubeconfig replaces the file at once: nobody reads half of it.
func writeKubeconfig(path string, text []byte) error {
	if err := checkKubeconfig(path); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".nestling-sandbox-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = temporary.Write(append([]byte(ours), text...))
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		_ = os.Remove(temporary.Name())
	}
	return err
}

// removeKubeconfigs removes those files that are a sandbox's and that nobody
// answers for any more: another sandbox may have written there since.
func (s *settings) removeKubeconfigs() {
	for _, path := range []string{s.kubeconfig, s.hostKubeconfig} {
		text, err := os.ReadFile(path)
		if err == nil && bytes.HasPrefix(text, []byte(ours)) && !answers(text) {
			_ = os.Remove(path)
		}
	}
}
