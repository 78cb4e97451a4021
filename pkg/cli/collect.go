package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/pkg/collect"
	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/pkg/fleet"
	"nestling.dev/nestling/pkg/hostclient"
)

// answerPatience is how long a tenant may take that is asked whether it is alive: it may be what the report is about.
const answerPatience = 10 * time.Second

func newCollectCommand() *cobra.Command {
	var dir, file string
	var timeout time.Duration
	command := &cobra.Command{
		Use:   "collect NAME [-o DIR | --output-file FILE.tar.gz]",
		Short: "Gather both sides of a tenant for a bug report",
		Long: `Gather what there is to know of a tenant: its objects and its control plane's on the host, all objects of its own API,
events, the logs of the control plane and of the tenant's pods, metrics and versions. What cannot be had, because a right is
missing or the tenant's API is dead, is a line in report.json; the rest is there.

Secrets stay secret: all data of Secrets, former versions in annotations, and values of variables, arguments, fields and
lines whose name says that they are secret are replaced by their size, as are tokens, private keys and passwords in URLs that
are recognized in any text. Look through a report before you pass it on: what a program logs in words of its own is kept.

The size of each part and of the whole is bounded.
` + exitCodes,
		Example: "  nestling collect team-a -n tenants\n  nestling collect team-a -n tenants -o report",
		Args:    cobra.ExactArgs(1),
	}
	host, ways := addHostFlags(command.Flags()), addWayFlags(command.Flags())
	command.ValidArgsFunction = completeTenants(host)
	flags := command.Flags()
	flags.StringVarP(&dir, "output", "o", "", "directory for the report: one that is empty, or that holds an earlier one")
	flags.StringVar(&file, "output-file", "", "archive for the report (default ./nestling-NAME-TIME.tar.gz)")
	flags.DurationVar(&timeout, "timeout", collect.DefaultTimeout, "end with what there is after so long")
	command.RunE = func(command *cobra.Command, args []string) error {
		name, err := nameArg(args)
		if err != nil {
			return err
		}
		switch {
		case dir != "" && file != "":
			return &usageError{errors.New("--output and --output-file: give one of them")}
		case timeout <= 0:
			return checkTimeout(timeout)
		}
		if dir != "" {
			if err := collect.CheckDirectory(dir); err != nil {
				return &usageError{fmt.Errorf("--output: %w", err)}
			}
		}
		if file != "" {
			if _, err := os.Lstat(file); err == nil {
				return &usageError{fmt.Errorf("--output-file: %s exists", file)}
			}
			if info, err := os.Stat(filepath.Dir(file)); err != nil || !info.IsDir() {
				return &usageError{fmt.Errorf("--output-file: %s: there is no such directory", filepath.Dir(file))}
			}
		}
		config, namespace, err := host.connect()
		if err != nil {
			return err
		}
		ctx, said := command.Context(), command.ErrOrStderr()
		tenants, err := fleet.New(config)
		if err != nil {
			return err
		}
		// Of a tenant that is half there, or that we may not look for, there is something to tell.
		var unreachable *hostclient.UnreachableError
		switch _, exists, err := tenants.Run(ctx, name, namespace); {
		case errors.As(err, &unreachable):
			return err
		case err == nil && !exists:
			return &fleet.NotFoundError{Tenant: name, Namespace: namespace}
		}
		kubeconfig, err := storedKubeconfig(ctx, config, name, namespace)
		if err != nil {
			return err
		}
		now := time.Now()
		if dir == "" && file == "" {
			file = fmt.Sprintf("nestling-%s-%s.tar.gz", name, now.UTC().Format("20060102T150405Z"))
		}
		sink, err := newSink(dir, file, now)
		if err != nil {
			return err
		}
		options := collect.Options{Tenant: name, Namespace: namespace, Host: config, Timeout: timeout}
		closeWay := ways.reach(ctx, &options, kubeconfig, said)
		defer closeWay()
		return report(ctx, options, sink, said)
	}
	return command
}

func newSink(dir, file string, now time.Time) (collect.Sink, error) {
	if dir != "" {
		return collect.Directory(dir)
	}
	return collect.Archive(file, now)
}

// report collects, and says what came of it.
func report(ctx context.Context, options collect.Options, sink collect.Sink, said io.Writer) error {
	found, err := collect.Collect(ctx, options, sink)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	fmt.Fprintf(said, "nestling: report of tenant %s in %s: %d files in %s; %d things could not be had\n", options.Tenant, sink.Path(), found.Files, found.Took, len(found.Problems))
	return nil
}

// storedKubeconfig is the tenant's, as the host keeps it; nil if there is none, or none for us. A host that does not
// answer, or that does not know us, is an error: there would be nothing to report.
func storedKubeconfig(ctx context.Context, host *rest.Config, tenant, namespace string) ([]byte, error) {
	client, err := kubernetes.NewForConfig(host)
	if err != nil {
		return nil, err
	}
	n := deploy.Names{Tenant: tenant, Namespace: namespace}
	secret, err := client.CoreV1().Secrets(namespace).Get(ctx, n.Kubeconfig(), metav1.GetOptions{})
	if err == nil {
		return secret.Data[deploy.KubeconfigKey], nil
	}
	var unreachable *hostclient.UnreachableError
	err = hostclient.Answer(host.Host, "", err)
	if errors.As(err, &unreachable) {
		return nil, err
	}
	return nil, nil
}

// reach opens a way into the tenant for a report, if there is one. The result closes it.
func (f *wayFlags) reach(ctx context.Context, options *collect.Options, kubeconfig []byte, said io.Writer) (closeWay func()) {
	nothing := func() {}
	if len(kubeconfig) == 0 {
		options.Unreachable = errors.New("the host has no kubeconfig of it, or none for us")
		return nothing
	}
	open, err := f.open(ctx, options.Host, options.Tenant, options.Namespace, kubeconfig, said)
	if err != nil {
		options.Unreachable = err
		return nothing
	}
	options.Virtual, options.Unreachable = virtualConfig(ctx, open.Kubeconfig)
	return func() { _ = open.Close() }
}

// virtualConfig is that of a tenant whose API answers.
func virtualConfig(ctx context.Context, kubeconfig []byte) (*rest.Config, error) {
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	// Any answer will do: one that is not ready has much to tell.
	if result := client.RESTClient().Get().AbsPath("/livez").Do(ctx); result.Error() != nil {
		var code int
		if result.StatusCode(&code); code == 0 {
			return nil, result.Error()
		}
	}
	return config, nil
}
