package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"nestling.dev/nestling/pkg/version"
)

func newVersionCommand() *cobra.Command {
	var output string
	command := &cobra.Command{
		Use:   "version",
		Short: "Print which build this is",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			out, err := formatVersion(output)
			if err == nil {
				_, err = command.OutOrStdout().Write(out)
			}
			return err
		},
	}
	command.Flags().StringVarP(&output, "output", "o", "", "json or yaml; empty is one line")
	return command
}

func formatVersion(output string) ([]byte, error) {
	info := version.Get()
	switch output {
	case "":
		return []byte(info.String() + "\n"), nil
	case "json":
		out, err := json.MarshalIndent(info, "", "  ")
		return append(out, '\n'), err
	case "yaml":
		return yaml.Marshal(info)
	}
	return nil, &usageError{fmt.Errorf("--output: %q is not json or yaml", output)}
}
