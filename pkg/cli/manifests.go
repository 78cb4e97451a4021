package cli

import (
	"github.com/spf13/cobra"

	"nestling.dev/nestling/pkg/deploy"
)

func newManifestsCommand() *cobra.Command {
	var namespace string
	command := &cobra.Command{
		Use:   "manifests NAME",
		Short: "Print everything of a tenant as YAML",
		Long: `Print everything that a tenant needs on the host as plain YAML, ready for kubectl apply or a Git repository.
The host namespace must exist.`,
		Example: "  nestling manifests team-a -n tenants | kubectl apply -f -",
		Args:    cobra.ExactArgs(1),
	}
	command.Flags().StringVarP(&namespace, "namespace", "n", "default", "host namespace that holds everything of the tenant")
	flags := addDeployFlags(command.Flags())
	command.RunE = func(command *cobra.Command, args []string) error {
		options, err := flags.options(args[0])
		if err != nil {
			return err
		}
		options.Namespace = namespace
		if err := options.Validate(); err != nil {
			return &usageError{err}
		}
		out, err := deploy.YAML(options)
		if err == nil {
			_, err = command.OutOrStdout().Write(out)
		}
		return err
	}
	return command
}
