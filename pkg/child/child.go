//go:build unix

package child

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Exit codes of a shell, for a command that was not started and for one that a signal ended.
const (
	CannotRun = 126
	NotFound  = 127
	signalled = 128
)

const (
	// pipePatience is how long outputs that are no files are read on after the command's end.
	pipePatience = 2 * time.Second
	// restPatience is how long what the command has left behind may take to end by itself.
	restPatience = time.Second
	restInterval = 10 * time.Millisecond
)

// Forwarded are the signals that a child gets from us.
func Forwarded() []os.Signal {
	return []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2}
}

// Options say what to run.
type Options struct {
	// Args are the program, found as a shell finds it, and its arguments.
	Args []string
	// Env is all of its environment.
	Env            []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Signals are passed on as they come.
	Signals <-chan os.Signal
	// Grace is how long the command may go on after the first signal that asks it to end, before it is killed; the
	// second such signal kills it at once. 0 leaves it to the command.
	Grace time.Duration
}

// StartError is a command that was not started.
type StartError struct {
	Program string
	Code    int
	Cause   error
}

func (e *StartError) Error() string { return fmt.Sprintf("start %s: %v", e.Program, e.Cause) }
func (e *StartError) Unwrap() error { return e.Cause }

// Result is how a command ended.
type Result struct {
	// Code is its exit code, or 128 and the signal that ended it.
	Code int
	// Asked is the first signal that asked it, by us, to end; nil: it ended by itself.
	Asked os.Signal
}

// Run runs a command to its end. The error is a *StartError.
func Run(o Options) (Result, error) {
	command := exec.Command(o.Args[0], o.Args[1:]...)
	command.Env, command.Stdin, command.Stdout, command.Stderr = o.Env, o.Stdin, o.Stdout, o.Stderr
	command.WaitDelay = pipePatience
	// On a terminal of its own the command would be stopped as soon as it reads. There it stays in our process group, and
	// gets what is typed from the terminal, as we do.
	shares := foreground(o.Stdin)
	command.SysProcAttr = attributes(!shares)

	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		// The kernel ends the child with the thread that made it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			ended <- command.Wait()
		}
	}()
	if err := <-started; err != nil {
		return Result{}, startError(o.Args[0], err)
	}
	group := process{pid: command.Process.Pid, group: !shares}
	asked, err := group.follow(o, ended)
	if group.group {
		group.endRest()
	}
	return Result{Code: code(command, err), Asked: asked}, nil
}

// process is the command, and its process group if it has one of its own.
type process struct {
	pid   int
	group bool
}

func (p process) signal(signal syscall.Signal) {
	target := p.pid
	if p.group {
		target = -target
	}
	_ = unix.Kill(target, signal) // it may have ended
}

// follow passes signals on until the command has ended.
func (p process) follow(o Options, ended <-chan error) (asked os.Signal, err error) {
	var deadline <-chan time.Time
	for {
		select {
		case err := <-ended:
			return asked, err
		case <-deadline:
			p.signal(unix.SIGKILL)
		case received := <-o.Signals:
			signal, ok := received.(syscall.Signal)
			if !ok {
				continue
			}
			if !p.group && fromTerminal(signal) {
				continue // the command has it already, and may be a shell, to which it means little
			}
			if ends(signal) {
				if asked != nil && o.Grace > 0 {
					p.signal(unix.SIGKILL)
					continue
				}
				if asked == nil && o.Grace > 0 {
					timer := time.NewTimer(o.Grace)
					defer timer.Stop()
					deadline = timer.C
				}
				if asked == nil {
					asked = signal
				}
			}
			p.signal(signal)
		}
	}
}

func ends(signal syscall.Signal) bool {
	return signal == unix.SIGINT || signal == unix.SIGTERM || signal == unix.SIGHUP || signal == unix.SIGQUIT
}

// fromTerminal are the signals that a terminal sends to all in its foreground. A SIGINT of somebody else is lost on the
// command, then; those who send signals to programs send SIGTERM.
func fromTerminal(signal syscall.Signal) bool {
	return signal == unix.SIGINT || signal == unix.SIGQUIT || signal == unix.SIGHUP
}

// endRest ends what the command has left in its process group.
func (p process) endRest() {
	if unix.Kill(-p.pid, unix.SIGTERM) != nil {
		return // nobody is left
	}
	for begin := time.Now(); time.Since(begin) < restPatience; time.Sleep(restInterval) {
		if unix.Kill(-p.pid, 0) != nil {
			return
		}
	}
	_ = unix.Kill(-p.pid, unix.SIGKILL)
}

func code(command *exec.Cmd, err error) int {
	state := command.ProcessState
	if state == nil {
		return CannotRun
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return signalled + int(status.Signal())
	}
	return state.ExitCode()
}

func startError(program string, err error) error {
	out := &StartError{Program: program, Code: CannotRun, Cause: err}
	var lookup *exec.Error
	var path *fs.PathError
	switch {
	case errors.As(err, &lookup):
		out.Cause = lookup.Err
	case errors.As(err, &path):
		out.Cause = path.Err
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		out.Code = NotFound
	}
	return out
}

// foreground says whether in is the terminal in whose foreground we run.
func foreground(in io.Reader) bool {
	file, ok := in.(*os.File)
	if !ok {
		return false
	}
	group, err := unix.IoctlGetInt(int(file.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
