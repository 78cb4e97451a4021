// Package cli is the command line of nestling: one file per command.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/version"
)

// Exit codes. Scripts rely on them.
const (
	exitOK = 0
	// exitFailure is something that went wrong: another try may work.
	exitFailure = 1
	// exitBadInput is something that the user has to change first.
	exitBadInput = 2
)

// usageError is bad input that is no *config.Error.
type usageError struct{ cause error }

func (e *usageError) Error() string { return e.cause.Error() }
func (e *usageError) Unwrap() error { return e.cause }

// Main runs the command line and returns the exit code. An error is one line on stderr.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return MainAs(ctx, program, args, stdout, stderr)
}

// MainAs is Main for a program that its user has called by another name, as ProgramName tells.
func MainAs(ctx context.Context, name string, args []string, stdout, stderr io.Writer) int {
	accepted := false
	root := newRootCommand(func() { accepted = true })
	if name != program {
		rename(root, name)
		stderr = speaking{stderr, name, commandsOf(root)}
	}
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var exit *exitError
	if !errors.As(err, &exit) || exit.cause != nil {
		fmt.Fprintf(stderr, "%s: %s\n", name, oneLine(err))
	}
	if exit != nil {
		return exit.code
	}
	var bad *config.Error
	var usage *usageError
	if !accepted || errors.As(err, &bad) || errors.As(err, &usage) {
		return exitBadInput
	}
	return exitFailure
}

// newRootCommand calls accepted once cobra is content with command, flags and arguments: all that fails before it is
// bad input.
func newRootCommand(accepted func()) *cobra.Command {
	root := &cobra.Command{
		Use:   "nestling",
		Short: "A whole Kubernetes cluster in one pod of another",
		Long: `A nestling is a whole Kubernetes cluster that lives in one pod of another cluster. Its tenant gets a real API
server; its pods run on the host's nodes.`,
		Version:          version.Get().String(),
		SilenceErrors:    true,
		SilenceUsage:     true,
		PersistentPreRun: func(*cobra.Command, []string) { accepted() },
	}
	root.Flags().Bool("version", false, "say which build this is")
	root.SetVersionTemplate("{{.Version}}\n") // what `nestling version` prints
	root.AddCommand(
		newServeCommand(),
		newManifestsCommand(),
		newCreateCommand(),
		newDeleteCommand(),
		newListCommand(),
		newDescribeCommand(),
		newKubeconfigCommand(),
		newPauseCommand(),
		newResumeCommand(),
		newConnectCommand(),
		newRunCommand(),
		newCollectCommand(),
		newExplainCommand(),
		newVersionCommand(),
	)
	return root
}

// oneLine keeps a message that came with line breaks on one line of a log.
func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
