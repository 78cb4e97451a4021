package cli

import (
	"github.com/spf13/cobra"

	"nestling.dev/nestling/pkg/fleet"
)

func newPauseCommand() *cobra.Command {
	options := fleet.PauseOptions{}
	command := &cobra.Command{
		Use:   "pause NAME",
		Short: "Stop a tenant and its pods, and keep what it has",
		Long: `Stop a tenant's control plane and delete its pods on the host, so that it costs nothing but its volumes.

nestling resume starts it again with all its objects. Pods of Deployments, StatefulSets, DaemonSets and Jobs come back, made
anew by their controllers; a pod that nobody controls is gone, as after the loss of a node. With
--keep-pods the pods go on without a control plane, and are the same ones afterwards.

An ephemeral tenant loses everything that it has, so that takes --force. A tenant whose time is over while it is paused
removes itself when it is resumed.
` + exitCodes,
		Example: "  nestling pause team-a -n tenants",
		Args:    cobra.ExactArgs(1),
	}
	host := addHostFlags(command.Flags())
	command.ValidArgsFunction = completeTenants(host)
	flags := command.Flags()
	flags.BoolVar(&options.KeepPods, "keep-pods", false, "leave the tenant's pods running")
	flags.BoolVar(&options.Force, "force", false, "pause an ephemeral tenant, which loses everything that it has")
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
		options.Tenant, options.Namespace = name, namespace
		options.Progress = steps(command.ErrOrStderr())
		return tenants.Pause(command.Context(), options)
	}
	return command
}
