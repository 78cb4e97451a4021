package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"nestling.dev/nestling/pkg/sandbox"
	"nestling.dev/nestling/pkg/simhost"
)

// workerCommand is the hidden command that the keeper runs.
const workerCommand = "worker"

// wordsFD is the file descriptor on which the worker tells the keeper why it
// failed. The next one is the lock, only held.
const wordsFD = 3

func newWorkerCommand() *cobra.Command {
	var s settings
	var dir string
	command := &cobra.Command{
		Use:    workerCommand,
		Short:  "The part of `up` that does the work",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			syscall.CloseOnExec(wordsFD) // tenants inherit the lock, but not this
			words := os.NewFile(wordsFD, "words")
			defer words.Close()
			err := work(command.Context(), s, dir, command.OutOrStdout())
			if err != nil {
				_, _ = io.WriteString(words, oneLine(err))
			}
			return err
		},
	}
	s.addFlags(command.Flags())
	command.Flags().StringVar(&dir, "dir", "", "where everything lives; removed at the end")
	return command
}

// work runs the sandbox until it is told to end.
func work(ctx context.Context, s settings, dir string, stdout io.Writer) error {
	// With the keeper killed, its terminal or pipe may be gone: that must not
	// end us in the middle of the stop.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()

	since := time.Now()
	logDir := s.logDir
	if logDir == "" {
		logDir = dir
	}
	running, err := sandbox.Start(ctx, sandbox.Options{
		Dir:     filepath.Join(dir, "s"),
		LogDir:  logDir,
		Tenants: []string{s.tenant},
		Host:    simhost.Options{Nodes: s.nodes, Logs: os.Stderr},
		Observe: func(step string, took time.Duration) {
			fmt.Fprintf(stdout, "%-24s %5.1f s\n", step, took.Seconds())
		},
	})
	switch {
	case err == nil:
		err = errors.Join(serve(ctx, s, running, stdout, since), running.Stop())
	case ctx.Err() != nil:
		err = errors.New("interrupted before it was ready")
	}
	s.removeKubeconfigs()
	return errors.Join(err, removeDir(dir))
}

// serve says that the sandbox is ready and waits for its end.
func serve(ctx context.Context, s settings, running *sandbox.Sandbox, stdout io.Writer, since time.Time) error {
	if err := s.writeKubeconfigs(running); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "Ready in %.1f s: export KUBECONFIG=%s\n", time.Since(since).Seconds(), s.kubeconfig)
	tenant := running.Tenant(s.tenant)
	select {
	case <-ctx.Done():
		return nil
	case <-tenant.Ended():
		return tenant.Failure()
	case <-running.Host().Done():
		return running.Host().Err()
	}
}
