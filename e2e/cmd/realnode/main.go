// Realnode keeps a real host cluster running between test runs:
//
//	realnode up                     build what is needed and bring it up
//	realnode kubeconfig             print the path of the administrator's kubeconfig
//	realnode import IMAGE.tar...    make images available on its nodes
//	realnode exec -- COMMAND...     run a command in a node's namespaces
//	realnode storage                give it a storage driver and classes
//	realnode down
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"nestling.dev/nestling/e2e/addon/csi"
	"nestling.dev/nestling/e2e/node"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "realnode:", err)
		os.Exit(1)
	}
}

func root() *cobra.Command {
	var dir string
	command := &cobra.Command{
		Use: "realnode", Short: "A real Kubernetes node (or several) on this machine", SilenceErrors: true, SilenceUsage: true,
	}
	command.PersistentFlags().StringVar(&dir, "dir", "", "where everything lives (default <repository>/.cache/realnode)")
	// One directory however the flag was given.
	command.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if dir != "" {
			return nil
		}
		repository, err := node.Root(cmd.Context())
		dir = filepath.Join(repository, ".cache", "realnode")
		return err
	}
	command.AddCommand(up(&dir), down(&dir), kubeconfig(&dir), importImages(&dir), execute(&dir), storage(&dir))
	return command
}

func up(dir *string) *cobra.Command {
	options := node.Options{}
	command := &cobra.Command{Use: "up", Short: "Bring it up; an earlier one of the same directory goes first", Args: cobra.NoArgs}
	command.Flags().StringVar(&options.Name, "name", "nest", "prefix of the node names")
	command.Flags().IntVar(&options.Nodes, "nodes", 1, "how many nodes")
	command.Flags().StringVar(&options.Programs, "programs", "", "directory with the host's programs (default: build them)")
	command.RunE = func(cmd *cobra.Command, _ []string) error {
		// Before minutes of building.
		if err := node.Requirements(); err != nil {
			return err
		}
		options.Dir = *dir
		if options.Programs == "" {
			repository, err := node.Root(cmd.Context())
			if err != nil {
				return err
			}
			if options.Programs, err = node.Build(cmd.Context(), repository); err != nil {
				return err
			}
		}
		host, err := node.Up(cmd.Context(), options)
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "export KUBECONFIG=%s\n", host.Kubeconfig())
		return nil
	}
	return command
}

func down(dir *string) *cobra.Command {
	return &cobra.Command{Use: "down", Short: "Remove it and all that belongs to it, except its logs", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return node.Down(cmd.Context(), *dir)
	}}
}

func kubeconfig(dir *string) *cobra.Command {
	return &cobra.Command{Use: "kubeconfig", Short: "Print the path of the administrator's kubeconfig", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		host, err := node.Open(*dir)
		if err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), host.Kubeconfig())
		return nil
	}}
}

func importImages(dir *string) *cobra.Command {
	return &cobra.Command{Use: "import IMAGE.tar...", Short: "Make images available on its nodes", Args: cobra.MinimumNArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		host, err := node.Open(*dir)
		if err != nil {
			return err
		}
		for _, archive := range args {
			if err := host.Import(cmd.Context(), archive); err != nil {
				return err
			}
		}
		return nil
	}}
}

func execute(dir *string) *cobra.Command {
	var index int
	command := &cobra.Command{Use: "exec [--node N] -- COMMAND...", Short: "Run a command in a node's namespaces", Args: cobra.MinimumNArgs(1)}
	command.Flags().IntVar(&index, "node", 0, "number of the node")
	command.RunE = func(cmd *cobra.Command, args []string) error {
		host, err := node.Open(*dir)
		if err != nil {
			return err
		}
		if index < 0 || index >= len(host.NodeNames()) {
			return fmt.Errorf("no node %d: there are %d", index, len(host.NodeNames()))
		}
		within := host.Command(cmd.Context(), index, args...)
		within.Stdin, within.Stdout, within.Stderr = os.Stdin, cmd.OutOrStdout(), cmd.ErrOrStderr()
		err = within.Run()
		if exit, ok := err.(*exec.ExitError); ok {
			return fmt.Errorf("%s: exit code %d", args[0], exit.ExitCode())
		}
		return err
	}
	return command
}

// storage outlives this command, and ends with the host. Tests bring their own.
func storage(dir *string) *cobra.Command {
	return &cobra.Command{Use: "storage", Short: "Start a storage driver with upstream's sidecars, and make classes", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		host, err := node.Open(*dir)
		if err != nil {
			return err
		}
		repository, err := node.Root(cmd.Context())
		if err != nil {
			return err
		}
		programs, err := csi.Build(cmd.Context(), repository)
		if err != nil {
			return err
		}
		_, err = programs.Start(cmd.Context(), host)
		return err
	}}
}
