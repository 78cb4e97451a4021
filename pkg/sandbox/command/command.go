// Package command is the command line of nestling-sandbox.
//
// `up` runs in two processes. The one that the user starts, the keeper, does
// little more than wait; the other, the worker, is a child of it and holds the
// simulated host and the tenants' processes. Each cleans up when the other dies
// without a word, so that even kill -9 of one leaves nothing behind.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes, as nestling's.
const (
	exitOK       = 0
	exitFailure  = 1 // something went wrong
	exitBadInput = 2 // the user has to change something first
)

// usageError is bad input.
type usageError struct{ cause error }

func (e *usageError) Error() string { return e.cause.Error() }
func (e *usageError) Unwrap() error { return e.cause }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// Main runs the command line and returns the exit code. An error is one line on
// stderr.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	accepted := false
	root := &cobra.Command{
		Use:   "nestling-sandbox",
		Short: "A simulated host cluster with a nestling on it, to try things out",
		Long: `A simulated host cluster with a nestling on it: no root, no containers, seconds to start.
Pods are scheduled and become Running, but no program runs in them.`,
		SilenceErrors:    true,
		SilenceUsage:     true,
		PersistentPreRun: func(*cobra.Command, []string) { accepted = true },
	}
	root.AddCommand(newUpCommand(), newWorkerCommand())
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(stderr, "nestling-sandbox:", oneLine(err))
	var usage *usageError
	var ended *workerError
	switch {
	case errors.As(err, &ended):
		return ended.code
	case !accepted, errors.As(err, &usage):
		return exitBadInput
	}
	return exitFailure
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
