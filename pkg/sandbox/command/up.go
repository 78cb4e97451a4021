package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// workerError is that the worker ended with a code; it has said why.
type workerError struct {
	code  int
	cause error
}

func (e *workerError) Error() string { return e.cause.Error() }

func newUpCommand() *cobra.Command {
	var s settings
	command := &cobra.Command{
		Use:   "up",
		Short: "Run a sandbox until Ctrl-C",
		Long: `Run a simulated host cluster and a tenant on it, in the foreground. Ctrl-C ends it and leaves nothing behind.

Pods of a Job complete at once; other pods run until they are deleted. An annotation simulated-node/runs-for: 30s
makes a pod end by itself, simulated-node/exit-code: "1" says how. kwok.x-k8s.io/usage-cpu: 250m and
kwok.x-k8s.io/usage-memory: 64Mi are what kubectl top shows of each container, and what autoscalers follow.`,
		Example: "  nestling-sandbox up\n  KUBECONFIG=sandbox.kubeconfig kubectl create deployment web --image=nginx --replicas=3",
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := s.check(); err != nil {
				return err
			}
			return keep(command.Context(), s, command.OutOrStdout())
		},
	}
	s.addFlags(command.Flags())
	return command
}

// keep runs the worker, passes it the user's wish to end, and sweeps up after it.
func keep(ctx context.Context, s settings, stdout io.Writer) error {
	sweep()
	// Tenants whose worker was killed become our children, to be awaited.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl: %w", err)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()

	dir, lock, err := newDir()
	if err != nil {
		return err
	}
	worker, err := startWorker(s, dir, lock, stdout)
	if err != nil {
		return errors.Join(err, lock.Close(), removeDir(dir))
	}
	select {
	case <-worker.ended:
	case <-ctx.Done():
		stop() // a second signal ends the keeper at once; the worker cleans up
		_ = worker.command.Process.Signal(syscall.SIGTERM)
		<-worker.ended
	}

	// In order, the worker has done all this itself.
	for {
		if _, err := unix.Wait4(-1, nil, 0, nil); err != nil && !errors.Is(err, unix.EINTR) {
			break // no child is left
		}
	}
	s.removeKubeconfigs()
	err = errors.Join(lock.Close(), removeDir(dir))
	return errors.Join(worker.failure(), err)
}

// worker is the child process.
type worker struct {
	command *exec.Cmd
	words   *os.File      // what it had to tell about its failure
	ended   chan struct{} // closed when it was awaited
}

// wordsSize bounds the worker's error, in bytes: what a pipe holds, since nobody
// reads before the worker has ended.
const wordsSize = 64 << 10

func startWorker(s settings, dir string, lock *os.File, stdout io.Writer) (*worker, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	logDir := s.logDir
	if logDir == "" {
		logDir = dir
	}
	log, err := os.Create(filepath.Join(logDir, "host.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	words, wordsOfWorker, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer wordsOfWorker.Close()

	command := exec.Command(program, append([]string{workerCommand, "--dir", dir}, s.args()...)...)
	command.Stdout = stdout
	command.Stderr = log // klog's place
	command.ExtraFiles = []*os.File{wordsOfWorker, lock}
	command.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true,            // Ctrl-C reaches it through us only
		Pdeathsig: syscall.SIGTERM, // when we are killed, it ends in order
	}
	w := &worker{command: command, words: words, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The signal comes when the thread ends that has forked: it has to stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err != nil {
			return
		}
		_ = command.Wait() // the state says all
		close(w.ended)
	}()
	if err := <-started; err != nil {
		return nil, errors.Join(err, words.Close())
	}
	return w, nil
}

// failure is why the worker ended, in its words if it had any.
func (w *worker) failure() error {
	defer w.words.Close()
	state := w.command.ProcessState
	if state.Success() {
		return nil
	}
	if words, _ := io.ReadAll(io.LimitReader(w.words, wordsSize)); len(words) > 0 {
		return &workerError{code: max(state.ExitCode(), exitFailure), cause: errors.New(string(words))}
	}
	return fmt.Errorf("the simulated host ended: %s", state)
}
