// Certmanager is cert-manager's controller, webhook and CA injector in one binary, chosen
// by the first argument. Upstream's commands do the same around the same packages; what
// the chart's flags say is obeyed as far as the stories need it, and ignored otherwise.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	logf "github.com/cert-manager/cert-manager/pkg/logs"
)

// program is one of them: its flags, and what it does.
type program func(flags *pflag.FlagSet) (run func(ctx context.Context) error, err error)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(logf.NewContext(ctx, logf.Log), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "certmanager:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	programs := map[string]program{"controller": newController, "webhook": newWebhook, "cainjector": newInjector}
	if len(args) == 0 || programs[args[0]] == nil {
		return fmt.Errorf("usage: certmanager controller|webhook|cainjector [flags]")
	}
	flags := pflag.NewFlagSet(args[0], pflag.ContinueOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	start, err := programs[args[0]](flags)
	if err != nil {
		return err
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	return start(ctx)
}
