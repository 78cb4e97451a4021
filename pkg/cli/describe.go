package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nestling.dev/nestling/pkg/fleet"
)

func newDescribeCommand() *cobra.Command {
	var output string
	command := &cobra.Command{
		Use:   "describe NAME",
		Short: "Tell all about one tenant, and what to do if something is wrong",
		Long: `Tell what a tenant is doing, which version it runs, where its API is, when it ends, what it has on the host; and if
something is wrong, what, and what to do about it.
` + exitCodes,
		Example: "  nestling describe team-a -n tenants",
		Args:    cobra.ExactArgs(1),
	}
	host := addHostFlags(command.Flags())
	command.ValidArgsFunction = completeTenants(host)
	command.Flags().StringVarP(&output, "output", "o", "", "json or yaml")
	command.RunE = func(command *cobra.Command, args []string) error {
		name, err := nameArg(args)
		if err != nil {
			return err
		}
		if err := checkOutput(output, "json", "yaml"); err != nil {
			return err
		}
		tenants, namespace, err := host.fleet()
		if err != nil {
			return err
		}
		found, err := tenants.Describe(command.Context(), name, namespace)
		if err != nil {
			return err
		}
		if output != "" {
			return write(command.OutOrStdout(), found, output)
		}
		return describe(command.OutOrStdout(), found, time.Now())
	}
	return command
}

func describe(out io.Writer, d *fleet.Description, now time.Time) error {
	writer := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(writer, "%s:\t%s\n", name, fmt.Sprintf(format, args...))
	}
	line("Name", "%s", d.Name)
	line("Namespace", "%s", d.Namespace)
	line("State", "%s", d.State)
	if d.Message != "" {
		line("Because", "%s", d.Message)
	}
	if d.Advice != "" {
		line("What to do", "%s", d.Advice)
	}
	line("Version", "%s (image %s)", orNone(d.Version()), orNone(d.Image))
	if d.Pod != "" {
		line("Pod", "%s on node %s, %d restarts", d.Pod, orNone(d.Node), d.Restarts)
	}
	line("Server", "%s", orNone(d.Server))
	line("On the host", "%s", orNone(strings.Join(d.Addresses, ", ")))
	line("Kubeconfig", "Secret %s-kubeconfig (nestling kubeconfig %s -n %s)", d.Name, d.Name, d.Namespace)
	if d.Ephemeral {
		line("Data", "ephemeral: gone with the pod")
	}
	for _, volume := range d.Volumes {
		line("Data", "claim %s, %s, %s, class %s", volume.Claim, volume.Size, volume.Phase, orNone(volume.Class))
	}
	line("Objects", "%d of the control plane, %d of its workload (%d pods)", d.OwnObjects, d.WorkloadObjects, d.WorkloadPods)
	line("Installed by", "%s", d.InstalledBy)
	line("Created", "%s (%s ago)", d.CreatedAt.UTC().Format(time.RFC3339), age(d.CreatedAt, now))
	if d.ExpiresAt.IsZero() {
		line("Expires", "<never>")
	} else {
		line("Expires", "%s (%s)", d.ExpiresAt.UTC().Format(time.RFC3339), expiry(d.ExpiresAt, now))
	}
	line("Idle limit", "%s", orNone(d.IdleTTL))
	for i, event := range d.Events {
		name := ""
		if i == 0 {
			name = "Warnings:"
		}
		fmt.Fprintf(writer, "%s\t%s ago  %s: %s\n", name, age(event.At, now), event.Reason, strings.Join(strings.Fields(event.Message), " "))
	}
	return writer.Flush()
}
