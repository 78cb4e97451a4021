package cli

import (
	"github.com/spf13/cobra"

	"nestling.dev/nestling/pkg/fleet"
)

func newResumeCommand() *cobra.Command {
	options := fleet.ResumeOptions{}
	var wait bool
	command := &cobra.Command{
		Use:   "resume NAME",
		Short: "Start a paused tenant again, and wait until it is usable",
		Long: `Start a paused tenant again, and wait until it is usable. One that is running stays as it is.
` + exitCodes,
		Example: "  nestling resume team-a -n tenants",
		Args:    cobra.ExactArgs(1),
	}
	host := addHostFlags(command.Flags())
	command.ValidArgsFunction = completeTenants(host)
	flags := command.Flags()
	flags.BoolVar(&wait, "wait", true, "wait until the tenant is usable")
	flags.DurationVar(&options.Timeout, "timeout", fleet.DefaultTimeout, "give up after so long")
	command.RunE = func(command *cobra.Command, args []string) error {
		name, err := nameArg(args)
		if err != nil {
			return err
		}
		if err := checkTimeout(options.Timeout); err != nil {
			return err
		}
		tenants, namespace, err := host.fleet()
		if err != nil {
			return err
		}
		options.Tenant, options.Namespace, options.NoWait = name, namespace, !wait
		options.Progress = steps(command.ErrOrStderr())
		return tenants.Resume(command.Context(), options)
	}
	return command
}
