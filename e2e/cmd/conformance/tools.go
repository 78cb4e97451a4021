package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"nestling.dev/nestling/e2e/conformance"
	"nestling.dev/nestling/e2e/node"
	"nestling.dev/nestling/e2e/toolsuites"
)

// toolFlags as they are on the command line.
type toolFlags struct {
	suites     []string
	kubeconfig string
	host       string
}

func tools() *cobra.Command {
	var given toolFlags
	command := &cobra.Command{
		Use: "tools", Short: "Run the integration tests of tools in a tenant, and on the host", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runTools(cmd, given) },
	}
	set := command.Flags()
	set.StringSliceVar(&given.suites, "suite", toolsuites.Names(), "what to run; the report has the last results of all")
	set.StringVar(&given.kubeconfig, "kubeconfig", "", "of a tenant that is there already: no host is brought up. The tests delete what they find")
	set.StringVar(&given.host, "compare-with", "", "kubeconfig of a cluster to compare a tenant with: no host is brought up. The tests delete what they find")
	return command
}

func runTools(cmd *cobra.Command, given toolFlags) (err error) {
	ctx, say := cmd.Context(), cmd.OutOrStdout()
	// Flags of the parent's, with this command's own meaning.
	write, err := cmd.Flags().GetBool("report")
	if err != nil {
		return err
	}
	pattern, err := cmd.Flags().GetString("focus")
	if err != nil {
		return err
	}
	focus, err := expression("focus", pattern)
	if err != nil {
		return err
	}
	repository, err := node.Root(ctx)
	if err != nil {
		return err
	}
	reasons, err := toolsuites.LoadReasons()
	if err != nil {
		return err
	}
	for _, name := range given.suites {
		if !slices.Contains(toolsuites.Names(), name) {
			return fmt.Errorf("--suite: no suite %q, of %q", name, toolsuites.Names())
		}
	}
	targets := []conformance.Target{{Name: conformance.Tenant, Kubeconfig: given.kubeconfig}, {Name: conformance.Host, Kubeconfig: given.host}}
	if given.kubeconfig == "" && given.host == "" {
		suite, release, failed := acquire(ctx, repository)
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, release()) }()
		tenant, failed := suite.Tenant(ctx)
		if failed != nil {
			return failed
		}
		// The host comes last: upstream's tests of kubectl delete what is in it.
		targets = []conformance.Target{tenant, suite.Host()}
	}
	suites, err := toolsuites.Build(ctx, repository, reasons)
	if err != nil {
		return err
	}
	logs := filepath.Join(repository, ".cache", "tools", "logs")
	chosen := slices.DeleteFunc(slices.Clone(suites), func(s toolsuites.Suite) bool { return !slices.Contains(given.suites, s.Name) })
	for _, target := range targets {
		if target.Kubeconfig == "" {
			continue
		}
		if err := toolsuites.Run(ctx, target, chosen, focus, logs, say); err != nil {
			return err
		}
	}
	report := toolsuites.Report{Environment: environment(ctx, repository), Suites: suites, Results: map[string]map[string]toolsuites.Results{}, Reasons: reasons}
	for _, target := range []string{conformance.Tenant, conformance.Host} {
		if report.Results[target], err = toolsuites.Earlier(target, suites, logs); err != nil {
			return err
		}
	}
	if err := publish(cmd, repository, "TOOLS.md", report.Markdown(), write); err != nil {
		return err
	}
	if failed := report.Unexplained(); len(failed) > 0 {
		return fmt.Errorf("%d tests failed, and reasons.yaml has no reason:\n%s", len(failed), strings.Join(failed, "\n"))
	}
	return nil
}
