package cli

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"nestling.dev/nestling/pkg/fleet"
)

func newKubeconfigCommand() *cobra.Command {
	var server, file, output string
	command := &cobra.Command{
		Use:   "kubeconfig NAME",
		Short: "Print the kubeconfig of a tenant's administrator",
		Long: `Print the kubeconfig of a tenant's administrator, which the tenant keeps in the host Secret NAME-kubeconfig.

Its server is the tenant's Service unless the tenant is exposed in another way; --server names another address, which the
tenant's certificate must know (apiServer.sans).
` + exitCodes,
		Example: "  nestling kubeconfig team-a -n tenants --kubeconfig team-a.kubeconfig",
		Args:    cobra.ExactArgs(1),
	}
	host := addHostFlags(command.Flags())
	command.ValidArgsFunction = completeTenants(host)
	flags := command.Flags()
	flags.StringVar(&server, "server", "", "https:// URL to use in place of the one in it")
	flags.StringVar(&file, "kubeconfig", "-", "file to write it to; - is standard output")
	flags.StringVarP(&output, "output", "o", "", "yaml or json (default yaml)")
	command.RunE = func(command *cobra.Command, args []string) error {
		name, err := nameArg(args)
		if err != nil {
			return err
		}
		if err := checkOutput(output, "yaml", "json"); err != nil {
			return err
		}
		if parsed, err := url.Parse(server); server != "" && (err != nil || parsed.Scheme != "https" || parsed.Host == "") {
			return &usageError{fmt.Errorf("--server: %q is not an https:// URL", server)}
		}
		if file == "" {
			return &usageError{errors.New("--kubeconfig: the name of the file is empty")}
		}
		tenants, namespace, err := host.fleet()
		if err != nil {
			return err
		}
		if file != "-" {
			if err := fleet.CheckKubeconfigFile(file, name, namespace); err != nil {
				return &usageError{fmt.Errorf("--kubeconfig: %w", err)}
			}
		}
		content, err := tenants.Kubeconfig(command.Context(), name, namespace)
		if err == nil {
			content, err = marked(content, name, namespace, server)
		}
		if err != nil {
			return err
		}
		if output == "json" {
			if content, err = yaml.YAMLToJSON(content); err != nil {
				return err
			}
			content = append(content, '\n')
		}
		if file != "-" {
			return fleet.WriteKubeconfigFile(file, content)
		}
		_, err = command.OutOrStdout().Write(content)
		return err
	}
	return command
}
