package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/child"
	"nestling.dev/nestling/pkg/entry"
	"nestling.dev/nestling/pkg/fleet"
)

// lateAfter is how long something may take before it says what it waits for.
const lateAfter = time.Second

// late tells steps only once there is something to wait for.
func late(tell func(fleet.Step)) func(fleet.Step) {
	return func(step fleet.Step) {
		if step.Warning || step.Since >= lateAfter {
			tell(step)
		}
	}
}

// way is an open way into a tenant, with the file that leads there.
type way struct {
	*entry.Entry
	file *entry.File
}

// wayFlags are those of the commands that open one.
type wayFlags struct{ tunnel bool }

func addWayFlags(flags *pflag.FlagSet) *wayFlags {
	f := &wayFlags{}
	flags.BoolVar(&f.tunnel, "tunnel", false, "go through the host's API even where the tenant's own address answers")
	return f
}

// open finds the way.
func (f *wayFlags) open(ctx context.Context, host *rest.Config, tenant, namespace string, kubeconfig []byte, said io.Writer) (*entry.Entry, error) {
	parsed, err := entry.Parse(kubeconfig)
	if err != nil {
		return nil, err
	}
	return entry.Open(ctx, entry.Options{
		Host: host, Tenant: tenant, Namespace: namespace, Kubeconfig: parsed, Tunnel: f.tunnel,
		Report: func(line string) { fmt.Fprintln(said, "nestling: "+tenant+": "+line) },
	})
}

// openFile finds the way, and writes its kubeconfig to a temporary file.
func (f *wayFlags) openFile(ctx context.Context, host *rest.Config, tenant, namespace string, kubeconfig []byte, said io.Writer) (*way, error) {
	found, err := f.open(ctx, host, tenant, namespace, kubeconfig, said)
	if err != nil {
		return nil, err
	}
	file, err := entry.Temporary(tenant, found.Kubeconfig)
	if err != nil {
		return nil, errors.Join(err, found.Close())
	}
	return &way{found, file}, nil
}

func (w *way) close() error { return errors.Join(w.Close(), w.file.Remove()) }

// run runs a command on the way.
func (w *way) run(command *cobra.Command, argv []string, signals <-chan os.Signal, grace time.Duration) (child.Result, error) {
	return child.Run(child.Options{
		Args: argv, Env: environment(os.Environ(), w.file.Path),
		Stdin: command.InOrStdin(), Stdout: command.OutOrStdout(), Stderr: plain(command.ErrOrStderr()),
		Signals: signals, Grace: grace,
	})
}

// plain is where a command writes what we do not change.
func plain(out io.Writer) io.Writer {
	if ours, ok := out.(speaking); ok {
		return ours.Writer
	}
	return out
}

// marked is a tenant's kubeconfig for a file of the user's, once it is known to be harmless.
func marked(kubeconfig []byte, tenant, namespace, server string) ([]byte, error) {
	if _, err := entry.Parse(kubeconfig); err != nil {
		return nil, err
	}
	return fleet.MarkKubeconfig(kubeconfig, tenant, namespace, server)
}

// environment is ours, with another kubeconfig.
func environment(ours []string, kubeconfig string) []string {
	out := slices.DeleteFunc(slices.Clone(ours), func(variable string) bool { return strings.HasPrefix(variable, "KUBECONFIG=") })
	return append(out, "KUBECONFIG="+kubeconfig)
}

// forwarded takes over the signals that a command would get. From then on none of them ends us.
func forwarded() (signals chan os.Signal, stop func()) {
	signals = make(chan os.Signal, 16)
	signal.Notify(signals, child.Forwarded()...)
	return signals, func() { signal.Stop(signals) }
}

// ended is what a command's end means for our own.
func ended(result child.Result, err error) error {
	var failed *child.StartError
	switch {
	case errors.As(err, &failed):
		return &exitError{code: failed.Code, cause: err}
	case err != nil:
		return err
	case result.Code != 0:
		return &exitError{code: result.Code}
	}
	return nil
}

// nameAndCommand checks the arguments NAME -- CMD….
func nameAndCommand(command *cobra.Command, args []string) (name string, argv []string, err error) {
	dash := command.ArgsLenAtDash()
	if dash < 0 {
		dash = len(args)
	}
	switch {
	case dash == 0:
		return "", nil, &usageError{errors.New("NAME: is missing: nestling " + command.Use)}
	case dash > 1:
		return "", nil, &usageError{fmt.Errorf("%q: a command comes after --: nestling %s", args[1], command.Use)}
	}
	name, err = nameArg(args[:1])
	return name, args[dash:], err
}
