package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/deploy"
)

func newManifestsCommand() *cobra.Command {
	options := deploy.Default()
	storage := options.StorageSize.String()
	group := *options.FSGroup
	var file string
	command := &cobra.Command{
		Use:   "manifests NAME",
		Short: "Print everything of a tenant as YAML",
		Long: `Print everything that a tenant needs on the host as plain YAML, ready for kubectl apply or a Git repository.
The host namespace must exist.`,
		Example: "  nestling manifests team-a -n tenants | kubectl apply -f -",
		Args:    cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			options.Tenant = args[0]
			var err error
			if options.StorageSize, err = resource.ParseQuantity(storage); err != nil {
				return &usageError{fmt.Errorf("--storage-size: %q is not a quantity such as 5Gi", storage)}
			}
			options.FSGroup = &group
			if group < 0 {
				options.FSGroup = nil
			}
			if file != "" {
				settings, err := config.File(file)
				if err != nil {
					return err
				}
				if settings.Tenant != "" && settings.Tenant != options.Tenant {
					return &usageError{fmt.Errorf("--config: %s is for tenant %q, not for %q", file, settings.Tenant, options.Tenant)}
				}
				options.Config = *settings
			}
			if err := options.Validate(); err != nil {
				return &usageError{err}
			}
			out, err := deploy.YAML(options)
			if err == nil {
				_, err = command.OutOrStdout().Write(out)
			}
			return err
		},
	}
	flags := command.Flags()
	flags.StringVarP(&options.Namespace, "namespace", "n", "default", "host namespace that holds everything of the tenant")
	flags.StringVar(&options.Image, "image", options.Image, "image of the control plane")
	flags.StringVar(&file, "config", "", "configuration file whose settings the tenant gets; what it leaves out keeps the default of the version that runs")
	flags.BoolVar(&options.Ephemeral, "ephemeral", false, "keep the data in an emptyDir: it is gone with the pod")
	flags.BoolVar(&options.Namespaced, "namespaced", false, "need nothing outside the namespace: the tenant sees only the nodes that run its pods")
	flags.StringVar(&storage, "storage-size", storage, "size of the volume")
	flags.StringVar(&options.StorageClass, "storage-class", "", "storage class of the volume; empty is the host's default")
	flags.BoolVar(&options.KeepVolume, "keep-volume", false, "keep the volume when the StatefulSet is deleted")
	flags.Int64Var(&group, "fs-group", group, "group that owns the volume; -1 leaves it to the platform, as OpenShift wants")
	return command
}
