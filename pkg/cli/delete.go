package cli

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"nestling.dev/nestling/pkg/fleet"
)

func newDeleteCommand() *cobra.Command {
	options := fleet.DeleteOptions{}
	var wait, ignoreNotFound bool
	command := &cobra.Command{
		Use:   "delete NAME",
		Short: "Remove everything of a tenant",
		Long: `Remove everything that a tenant has on the host, its ClusterRole and binding too, however it was installed: by nestling
create, by its manifests or by kustomize. What Helm has installed is removed by helm uninstall.

While it waits it says what is left, and what holds it. With --keep-volumes the claims of the control plane and of the
tenant's data stay; creating the tenant again under its name takes them back.

A tenant that is not there is an error, as with kubectl delete, unless --ignore-not-found is given.
` + exitCodes,
		Example: "  nestling delete pr-1 -n ci",
		Args:    cobra.ExactArgs(1),
	}
	host := addHostFlags(command.Flags())
	command.ValidArgsFunction = completeTenants(host)
	flags := command.Flags()
	flags.BoolVar(&options.KeepVolumes, "keep-volumes", false, "keep the volumes of the control plane and of the tenant's data")
	flags.BoolVar(&wait, "wait", true, "wait until nothing is left")
	flags.DurationVar(&options.Timeout, "timeout", fleet.DefaultTimeout, "give up after so long")
	flags.BoolVar(&ignoreNotFound, "ignore-not-found", false, "a tenant that is not there is no error")
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
		_, err = tenants.Delete(command.Context(), options)
		var absent *fleet.NotFoundError
		if ignoreNotFound && errors.As(err, &absent) {
			options.Progress(fleet.Step{Text: absent.Error(), Since: time.Duration(0)})
			return nil
		}
		return err
	}
	return command
}
