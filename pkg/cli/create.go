package cli

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nestling.dev/nestling/pkg/fleet"
)

func newCreateCommand() *cobra.Command {
	var ttl, idleTTL, timeout time.Duration
	var wait, createNamespace bool
	var file, output string
	command := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a tenant and wait until it is usable",
		Long: `Apply everything that a tenant needs to the host, wait until its API answers and takes pods, and write its kubeconfig.

A tenant that is there, or half there, is brought to what the flags say: the command can be repeated. It never prompts. The
last line, on standard output, is the command to go on with; what happens on the way goes to standard error.

Everything is owned by the ConfigMap NAME-anchor: deleting that deletes the tenant. With --ttl or --idle-ttl the tenant
does so by itself, whatever has become of who made it; creating it again with --ttl renews it, and without lifts the limit.

An object of the host that has a name of the tenant's and is not the tenant's is never touched.
` + exitCodes,
		Example: `  nestling create pr-1 -n ci --ephemeral --ttl 45m
  nestling create team-a -n tenants --values team-a.yaml --kubeconfig team-a.kubeconfig`,
		Args: cobra.ExactArgs(1),
	}
	host := addHostFlags(command.Flags())
	deployed := addDeployFlags(command.Flags())
	flags := command.Flags()
	flags.DurationVar(&ttl, "ttl", 0, "remove the tenant this long from now, as 45m; 0 is never")
	flags.DurationVar(&idleTTL, "idle-ttl", 0, "remove the tenant when its API was not used for so long; 0 is never")
	flags.BoolVar(&createNamespace, "create-namespace", false, "make the host namespace if it does not exist; it is never deleted")
	flags.BoolVar(&wait, "wait", true, "wait until the tenant is usable; without, no kubeconfig is written")
	flags.DurationVar(&timeout, "timeout", fleet.DefaultTimeout, "give up after so long")
	flags.StringVar(&file, "kubeconfig", "", "file for the tenant's kubeconfig (default ./NAME.kubeconfig); - is standard output")
	flags.StringVarP(&output, "output", "o", "", "json: tell the result as JSON on standard output")
	command.RunE = func(command *cobra.Command, args []string) error {
		name, err := nameArg(args)
		if err != nil {
			return err
		}
		for flag, value := range map[string]time.Duration{"ttl": ttl, "idle-ttl": idleTTL} {
			if value != 0 && value < time.Second {
				return &usageError{fmt.Errorf("--%s: %s is less than a second", flag, value)}
			}
		}
		if err := checkTimeout(timeout); err != nil {
			return err
		}
		if err := checkOutput(output, "json"); err != nil {
			return err
		}
		if output == "json" && file == "-" {
			return &usageError{errors.New("--output json and --kubeconfig - both want standard output")}
		}
		options, err := deployed.options(name)
		if err != nil {
			return err
		}
		tenants, namespace, err := host.fleet()
		if err != nil {
			return err
		}
		options.Namespace = namespace
		if err := options.Validate(); err != nil {
			return &usageError{err}
		}
		if file == "" {
			file = name + ".kubeconfig"
		}
		if wait && file != "-" {
			if err := fleet.CheckKubeconfigFile(file, name, namespace); err != nil {
				return &usageError{fmt.Errorf("--kubeconfig: %w", err)}
			}
		}
		created, err := tenants.Create(command.Context(), fleet.CreateOptions{
			Deploy: options, TTL: ttl, IdleTTL: idleTTL, CreateNamespace: createNamespace,
			NoWait: !wait, Timeout: timeout, Progress: steps(command.ErrOrStderr()),
		})
		if err != nil {
			return err
		}
		return finishCreate(command, created, host.repeat(namespace), file, output)
	}
	return command
}

// finishCreate writes the kubeconfig, and says how to go on.
func finishCreate(command *cobra.Command, created *fleet.Created, where, file, output string) error {
	out := command.OutOrStdout()
	if created.Kubeconfig == nil {
		file = ""
	} else {
		content, err := marked(created.Kubeconfig, created.Name, created.Namespace, "")
		if err != nil {
			return err
		}
		if file == "-" {
			_, err := out.Write(content)
			return err
		}
		if err := fleet.WriteKubeconfigFile(file, content); err != nil {
			return fmt.Errorf("the tenant is usable; write its kubeconfig: %w", err)
		}
		if absolute, err := filepath.Abs(file); err == nil {
			file = absolute
		}
	}
	if output == "json" {
		return writeCreated(out, created, file)
	}
	_, err := fmt.Fprintln(out, next(command.Root().DisplayName(), created, where, file, os.Getenv("KUBERNETES_SERVICE_HOST") != ""))
	return err
}

// next is the command that goes on from here. A name of the host's DNS means nothing outside the host.
func next(program string, created *fleet.Created, where, file string, inCluster bool) string {
	if file == "" {
		return fmt.Sprintf("%s describe %s%s", program, created.Name, where)
	}
	server, err := url.Parse(created.Server)
	if err == nil && strings.HasSuffix(server.Hostname(), ".svc") && !inCluster {
		return fmt.Sprintf("%s connect %s%s", program, created.Name, where)
	}
	return "export KUBECONFIG=" + quote(file)
}

// quote makes a path one word of a shell.
func quote(path string) string {
	if strings.ContainsAny(path, " \t\n'\"\\$`&|;<>()*?[]#~!{}") {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}

func writeCreated(out io.Writer, created *fleet.Created, file string) error {
	result := struct {
		*fleet.Created
		IdleTTL     string  `json:"idleTTL,omitempty"`
		Kubeconfig  string  `json:"kubeconfig,omitempty"`
		TookSeconds float64 `json:"tookSeconds,omitempty"`
	}{Created: created, Kubeconfig: file, TookSeconds: seconds(created.Took)}
	if created.IdleTTL > 0 {
		result.IdleTTL = created.IdleTTL.String()
	}
	return write(out, result, "json")
}
