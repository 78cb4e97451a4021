package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
)

// downTimeout bounds the killing and removing; seconds are usual.
const downTimeout = time.Minute

// content is all that a host keeps in its directory, except the logs: somebody may
// want to know why. The directory may hold other things, which are left alone.
var content = [...]string{stateFile, "nodes", "pki", "etcd", "pids", "kubectl-cache"}

// Down removes a host and everything that belongs to it except its logs, in whatever
// state it is: running, half started, crashed, gone.
func (h *Host) Down(ctx context.Context) error { return Down(ctx, h.layout.Dir) }

// Down removes the host of a directory, see [Host.Down]. It is no fault if there is none.
//
// The order: processes first, all of them at once and without a chance to say goodbye,
// because there is nothing they could save; namespaces, mounts and interfaces go with
// them. Then cgroups, which must be empty. Then what is left on the machine. Files last,
// when nothing writes to them and nothing is mounted on them.
func Down(ctx context.Context, dir string) error {
	begin := time.Now()
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, downTimeout)
	defer cancel()
	groups, err := findHierarchies("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	cgroup := cgroupName(dir)
	// Again and again: a cgroup is busy for a moment after its last process, and a
	// program that a killed harness was just starting may join late.
	err = poll(ctx, "the cgroups to go", downTimeout, func(ctx context.Context) error {
		return errors.Join(groups.kill(ctx, cgroup), groups.remove(cgroup))
	})
	if err != nil {
		return err
	}
	if err := disconnect(ctx, dir); err != nil {
		return fmt.Errorf("node: network: %w", err)
	}
	removed, err := removeFiles(dir)
	if err != nil {
		return fmt.Errorf("node: %w", err)
	}
	if removed {
		klog.FromContext(ctx).Info("Host is down", "took", since(begin), "dir", dir)
	}
	return nil
}

// removeFiles removes the content. Mounts go first: removing would go through them.
func removeFiles(dir string) (bool, error) {
	if err := unmountUnder(dir); err != nil {
		return false, err
	}
	removed := false
	for _, name := range content {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return removed, err
		}
		removed = true
	}
	return removed, nil
}

// unmountUnder removes mounts under the directory in this mount namespace. Nodes
// mount in their own, so there are none unless somebody made them by hand.
func unmountUnder(dir string) error {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer file.Close()
	var points []string
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			points = append(points, fields[4])
		}
	}
	slices.Reverse(points)
	for _, point := range points {
		if err := unix.Unmount(point, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", point, err)
		}
	}
	return lines.Err()
}
