package cli

import (
	"os"

	"github.com/spf13/cobra"

	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/server"
)

func newServeCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "serve",
		Short: "Run the control plane of one tenant",
		Long: `Run one tenant: etcd, kube-apiserver, kube-controller-manager and the syncer, in this process.

It is what the tenant's pod runs. The configuration comes from defaults, the downward API, the file given by --config
and flags, each over the one before.`,
		Args: cobra.NoArgs,
	}
	flags := config.AddFlags(command.Flags())
	command.RunE = func(command *cobra.Command, _ []string) error {
		loaded, err := flags.Load(os.LookupEnv)
		if err != nil {
			return err
		}
		completed, err := loaded.Complete()
		if err != nil {
			return err
		}
		if err := completed.CheckFiles(); err != nil {
			return err
		}
		return server.Run(command.Context(), completed)
	}
	return command
}
