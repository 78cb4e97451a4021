package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"nestling.dev/nestling/pkg/fleet"
)

func newConnectCommand() *cobra.Command {
	var print bool
	var timeout time.Duration
	command := &cobra.Command{
		Use:   "connect NAME [-- CMD…]",
		Short: "Reach a tenant from here, and run a command there",
		Long: `Open a way into a tenant, and run a command whose KUBECONFIG leads there; without a command, keep it open until Ctrl-C and
print the line to paste into another shell.

The way is the tenant's own address where that answers, as it does inside the host cluster, and otherwise a tunnel through
the host's API (port-forward to the control plane's pod), which needs no more than the right to create pods/portforward.
The tunnel reconnects by itself: what is open when the pod restarts breaks, and what is opened meanwhile waits, up to a
minute. TLS is between the command and the tenant: nothing in between is trusted, and the certificate is checked as ever.

The kubeconfig is temporary, readable by nobody else, and removed at the end. The command gets our signals, and we end with
its exit code. A tenant that is still starting is waited for.

Exit codes: the command's own, 128+N if signal N ended it, 126 if it cannot be run, 127 if it is not found; before it runs,
2 if the command line or a file that it names is wrong, and 1 for anything else, in one line on standard error.`,
		Example: `  nestling connect team-a -n tenants -- kubectl get pods -A
  nestling connect team-a -n tenants -- k9s
  nestling connect team-a -n tenants --print > team-a.yaml &`,
		Args: cobra.ArbitraryArgs,
	}
	host := addHostFlags(command.Flags())
	ways := addWayFlags(command.Flags())
	command.ValidArgsFunction = completeTenants(host)
	flags := command.Flags()
	flags.BoolVar(&print, "print", false, "print the kubeconfig instead of keeping it in a file; ends at once if it needs no tunnel")
	flags.DurationVar(&timeout, "timeout", fleet.DefaultTimeout, "give up after waiting so long for the tenant")
	command.RunE = func(command *cobra.Command, args []string) error {
		name, argv, err := nameAndCommand(command, args)
		if err != nil {
			return err
		}
		if print && len(argv) > 0 {
			return &usageError{errors.New("--print: a command gets its kubeconfig in a file")}
		}
		if err := checkTimeout(timeout); err != nil {
			return err
		}
		config, namespace, err := host.connect()
		if err != nil {
			return err
		}
		tenants, err := fleet.New(config)
		if err != nil {
			return err
		}
		ctx, said := command.Context(), command.ErrOrStderr()
		kubeconfig, err := tenants.Await(ctx, fleet.AwaitOptions{Tenant: name, Namespace: namespace, Timeout: timeout, Progress: late(steps(said))})
		if err != nil {
			return err
		}
		if print {
			open, err := ways.open(ctx, config, name, namespace, kubeconfig, said)
			if err != nil {
				return err
			}
			if _, err := command.OutOrStdout().Write(open.Kubeconfig); err == nil && open.Tunnel != "" {
				fmt.Fprintf(said, "nestling: %s is reached by a tunnel at %s until Ctrl-C\n", name, open.Tunnel)
				<-ctx.Done()
			}
			return errors.Join(err, open.Close())
		}
		signals, stop := forwarded()
		defer stop()
		open, err := ways.openFile(ctx, config, name, namespace, kubeconfig, said)
		if err != nil {
			return err
		}
		if len(argv) > 0 {
			result, err := open.run(command, argv, signals, 0)
			if leftover := open.close(); leftover != nil {
				fmt.Fprintln(said, "nestling:", oneLine(leftover))
			}
			return ended(result, err)
		}
		_, err = fmt.Fprintln(command.OutOrStdout(), "export KUBECONFIG="+quote(open.file.Path))
		if err == nil {
			fmt.Fprintf(said, "nestling: %s is reached by %s until Ctrl-C\n", name, open.words())
			hold(ctx, signals)
		}
		return errors.Join(err, open.close())
	}
	return command
}

// hold waits for a signal that ends us.
func hold(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case received := <-signals:
			if received != unix.SIGUSR1 && received != unix.SIGUSR2 {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// words say which way it is.
func (w *way) words() string {
	if w.Tunnel != "" {
		return "a tunnel at " + w.Tunnel
	}
	return "its own address"
}
