// Nestling is the one binary of a tenant's control plane, and the command line around it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"nestling.dev/nestling/pkg/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	// Kubernetes' libraries register flags of their own there, which cobra would take for ours.
	pflag.CommandLine = pflag.NewFlagSet(os.Args[0], pflag.ContinueOnError)
	os.Exit(cli.MainAs(ctx, cli.ProgramName(os.Args[0]), os.Args[1:], os.Stdout, os.Stderr))
}
