// Nestling is the one binary of a tenant's control plane, and the command line around it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"nestling.dev/nestling/pkg/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(cli.MainAs(ctx, cli.ProgramName(os.Args[0]), os.Args[1:], os.Stdout, os.Stderr))
}
