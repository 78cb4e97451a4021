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

func newListCommand() *cobra.Command {
	var all bool
	var output string
	command := &cobra.Command{
		Use:     "list [NAME]",
		Aliases: []string{"ls"},
		Short:   "List the tenants of a host",
		Long: `List the tenants of a host namespace, or of all with -A: what each is doing, which version it runs, and when it ends.
` + exitCodes,
		Example: "  nestling list -A -o wide",
		Args:    cobra.MaximumNArgs(1),
	}
	host := addHostFlags(command.Flags())
	command.ValidArgsFunction = completeTenants(host)
	command.Flags().BoolVarP(&all, "all-namespaces", "A", false, "list those of all host namespaces")
	command.Flags().StringVarP(&output, "output", "o", "", "wide, json, yaml or name")
	command.RunE = func(command *cobra.Command, args []string) error {
		if err := checkOutput(output, "wide", "json", "yaml", "name"); err != nil {
			return err
		}
		if len(args) > 0 {
			if _, err := nameArg(args); err != nil {
				return err
			}
		}
		tenants, namespace, err := host.fleet()
		if err != nil {
			return err
		}
		where := namespace
		if all {
			where = ""
		}
		found, err := tenants.List(command.Context(), where)
		if err != nil {
			return err
		}
		if len(args) > 0 {
			if found = named(found, args[0]); len(found) == 0 {
				return &fleet.NotFoundError{Tenant: args[0], Namespace: namespace}
			}
		}
		switch output {
		case "json", "yaml":
			return write(command.OutOrStdout(), map[string]any{"items": append([]fleet.Tenant{}, found...)}, output)
		case "name":
			for _, tenant := range found {
				fmt.Fprintln(command.OutOrStdout(), tenant.Name)
			}
			return nil
		}
		if len(found) == 0 {
			place := "in namespace " + namespace
			if all {
				place = "on this host"
			}
			fmt.Fprintf(command.ErrOrStderr(), "No tenants %s.\n", place)
			return nil
		}
		return table(command.OutOrStdout(), found, all, output == "wide", time.Now())
	}
	return command
}

func named(tenants []fleet.Tenant, name string) []fleet.Tenant {
	var out []fleet.Tenant
	for _, tenant := range tenants {
		if tenant.Name == name {
			out = append(out, tenant)
		}
	}
	return out
}

func table(out io.Writer, tenants []fleet.Tenant, all, wide bool, now time.Time) error {
	writer := tabwriter.NewWriter(out, 0, 8, 3, ' ', 0)
	columns := func(namespace string, cells []string, more ...string) {
		if all {
			cells = append([]string{namespace}, cells...)
		}
		if wide {
			cells = append(cells, more...)
		}
		fmt.Fprintln(writer, strings.Join(cells, "\t"))
	}
	columns("NAMESPACE", []string{"NAME", "STATE", "VERSION", "EXPIRES", "AGE"}, "IDLE-TTL", "DATA", "NODE", "RESTARTS", "INSTALLED-BY", "MESSAGE")
	for _, tenant := range tenants {
		data := "volume"
		if tenant.Ephemeral {
			data = "ephemeral"
		}
		columns(tenant.Namespace,
			[]string{tenant.Name, string(tenant.State), orNone(tenant.Version()), expiry(tenant.ExpiresAt, now), age(tenant.CreatedAt, now)},
			orNone(tenant.IdleTTL), data, orNone(tenant.Node), fmt.Sprint(tenant.Restarts), tenant.InstalledBy, tenant.Message)
	}
	return writer.Flush()
}
