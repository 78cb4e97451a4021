package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// joinCgroup is a shell script that enters cgroups before it becomes the program:
// no moment in which the program, or a child of it, is outside. The first word is
// the number of cgroup.procs files, which follow, then the program.
const joinCgroup = `n=$1; shift; while [ $n -gt 0 ]; do echo 0 > "$1" || exit 70; shift; n=$((n-1)); done; exec "$@"`

// confined is a command in the cgroup. Its process id is that of the program itself.
func (h hierarchies) confined(ctx context.Context, cgroup string, argv ...string) *exec.Cmd {
	procs := h.procs(cgroup)
	args := append([]string{"-c", joinCgroup, "sh", strconv.Itoa(len(procs))}, procs...)
	command := exec.CommandContext(ctx, "/bin/sh", append(args, argv...)...)
	command.Env = environment()
	return command
}

// enter is the prefix that runs a program in the namespaces of a holder.
func enter(holder int) []string {
	return []string{"/usr/bin/nsenter", "--target", strconv.Itoa(holder), "--mount", "--net", "--"}
}

// spawn starts a program that outlives this process, with its output in a log
// file and its pid in a pid file.
func spawn(command *exec.Cmd, logFile, pidFile string) (int, error) {
	for _, file := range []string{logFile, pidFile} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return 0, err
		}
	}
	output, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return 0, err
	}
	defer output.Close()
	command.Stdout, command.Stderr = output, output
	// A session of its own: a Ctrl-C in the terminal is for the caller, who then
	// takes things down in order.
	command.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return 0, err
	}
	pid := command.Process.Pid
	// Reaps it if it ends before this process does.
	go func() { _ = command.Wait() }()
	return pid, os.WriteFile(pidFile, []byte(strconv.Itoa(pid)+"\n"), 0o644)
}

// readPID is 0 when there is no such file.
func readPID(pidFile string) (int, error) {
	data, err := os.ReadFile(pidFile)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(data)))
}

// waitExit waits for any process, not only a child.
func waitExit(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for {
		// Readable when the process has ended; the timeout is for the context's sake.
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 50)
		if n > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// poll tries until the condition holds, and tells why it did not hold last.
func poll(ctx context.Context, what string, timeout time.Duration, condition func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		err := condition(ctx)
		if err == nil {
			return nil
		}
		var stop permanentError
		if errors.As(err, &stop) {
			return fmt.Errorf("node: wait for %s: %w", what, stop.error)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("node: wait for %s: not within %s: %w", what, timeout, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// permanentError ends a poll: waiting longer does not help.
type permanentError struct{ error }

func sorted(words []string) []string {
	out := slices.Clone(words)
	slices.Sort(out)
	return out
}

// run runs a program to its end; the error carries what it printed.
func run(command *exec.Cmd) error {
	output, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(command.Path), err, strings.TrimSpace(string(output)))
	}
	return nil
}
