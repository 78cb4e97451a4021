package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// hierarchies are the mount points of the cgroup filesystems: one for version 2,
// one per controller for version 1.
type hierarchies struct {
	v2 bool
	// points maps a controller to its mount point; version 2 has the single key "".
	points map[string]string
}

// tracking is the hierarchy that says which processes are ours: on version 1 the
// pids controller, since kubelet puts every container there.
func (h hierarchies) tracking() string {
	if h.v2 {
		return h.points[""]
	}
	return h.points["pids"]
}

// findHierarchies reads a mountinfo file (proc_pid_mountinfo(5)).
func findHierarchies(mountinfo string) (hierarchies, error) {
	file, err := os.Open(mountinfo)
	if err != nil {
		return hierarchies{}, err
	}
	defer file.Close()
	v1 := map[string]string{}
	v2 := ""
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		left, right, ok := strings.Cut(lines.Text(), " - ")
		before, after := strings.Fields(left), strings.Fields(right)
		if !ok || len(before) < 5 || len(after) < 3 {
			continue
		}
		switch after[0] {
		case "cgroup2":
			if before[4] == "/sys/fs/cgroup" {
				v2 = before[4]
			} else {
				// Version 2 without controllers beside version 1: runc uses it all the same.
				v1["unified"] = before[4]
			}
		case "cgroup":
			for _, option := range strings.Split(after[2], ",") {
				if option != "rw" && option != "ro" && option != "xattr" {
					v1[option] = before[4]
				}
			}
		}
	}
	if err := lines.Err(); err != nil {
		return hierarchies{}, err
	}
	if v2 != "" {
		return hierarchies{v2: true, points: map[string]string{"": v2}}, nil
	}
	for _, controller := range []string{"cpu", "cpuacct", "cpuset", "memory", "pids"} {
		if v1[controller] == "" {
			return hierarchies{}, fmt.Errorf("neither version 2 nor the %s controller of version 1 is mounted", controller)
		}
	}
	return hierarchies{points: v1}, nil
}

// create makes the cgroup in every hierarchy.
func (h hierarchies) create(cgroup string) error {
	for controller, point := range h.points {
		dir := point
		for _, part := range strings.Split(cgroup, "/") {
			parent := dir
			dir = filepath.Join(dir, part)
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("node: cgroup: %w", err)
			}
			if controller != "cpuset" {
				continue
			}
			// A new cpuset is empty on version 1, and takes no process so.
			for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
				if err := copyFile(filepath.Join(parent, name), filepath.Join(dir, name)); err != nil {
					return fmt.Errorf("node: cgroup: %w", err)
				}
			}
		}
	}
	return nil
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

// procs are the files that a process writes "0" to, to join the cgroup.
func (h hierarchies) procs(cgroup string) []string {
	var files []string
	for _, point := range h.points {
		files = append(files, filepath.Join(point, cgroup, "cgroup.procs"))
	}
	slices.Sort(files)
	return slices.Compact(files) // cpu and cpuacct are often one mount
}

// adopt moves a process into the cgroup, where it counts as ours. One that has ended
// is left to whoever asks for it next.
func (h hierarchies) adopt(cgroup string, pid int) error {
	err := os.WriteFile(filepath.Join(h.tracking(), cgroup, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("node: cgroup: %w", err)
	}
	return nil
}

// pids lists the processes in the cgroup and below.
func (h hierarchies) pids(cgroup string) ([]int, error) {
	var pids []int
	err := filepath.WalkDir(filepath.Join(h.tracking(), cgroup), func(path string, entry fs.DirEntry, err error) error {
		// A cgroup may go while it is being walked.
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			return nil
		}
		for _, field := range strings.Fields(string(data)) {
			pid, convErr := strconv.Atoi(field)
			if convErr != nil {
				return convErr
			}
			pids = append(pids, pid)
		}
		return err
	})
	return pids, err
}

// contains says whether the process is in the cgroup or below. A recycled pid is not.
func (h hierarchies) contains(cgroup string, pid int) bool {
	pids, err := h.pids(cgroup)
	return err == nil && slices.Contains(pids, pid)
}

// kill ends everything in the cgroup and below and waits for it. Killing goes on
// until a look finds nothing, because what is killed may just have forked.
func (h hierarchies) kill(ctx context.Context, cgroup string) error {
	for {
		pids, err := h.pids(cgroup)
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL) // gone already is as good
		}
		for _, pid := range pids {
			if err := waitExit(ctx, pid); err != nil {
				return fmt.Errorf("node: process %d does not end when killed: %w", pid, err)
			}
		}
	}
}

// remove deletes the cgroup and everything below, in every hierarchy.
func (h hierarchies) remove(cgroup string) error {
	var failed []error
	for _, point := range h.points {
		var dirs []string
		err := filepath.WalkDir(filepath.Join(point, cgroup), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		failed = append(failed, err)
		slices.Reverse(dirs) // children first
		for _, dir := range dirs {
			if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				failed = append(failed, err)
			}
		}
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("node: cgroup: %w", err)
	}
	return nil
}
