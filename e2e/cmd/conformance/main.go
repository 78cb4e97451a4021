// Conformance runs upstream's end-to-end suite on a real host of two nodes, and in a tenant
// on it:
//
//	conformance tenant           what is tagged [Conformance], in a tenant with the default configuration
//	conformance host             the same on the host itself
//	conformance parity           the host, then the tenant, and compare results and times
//	conformance tenant --part quick,quick-serial
//	conformance tools            integration tests of Helm, kubectl and controller-runtime, in the tenant and on the host
//
// It brings up the host, and takes it down; with NESTLING_E2E_NODE it uses the one of
// `realnode up --nodes 2`.
package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"nestling.dev/nestling/e2e/addon/csi"
	"nestling.dev/nestling/e2e/conformance"
	"nestling.dev/nestling/e2e/image"
	"nestling.dev/nestling/e2e/node"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

// flags as they are on the command line.
type flags struct {
	parts               []string
	focus, skip         string
	onlyFailed, resumed bool
	processes           int
	excepted            bool
	write               bool
}

func root() *cobra.Command {
	var given flags
	command := &cobra.Command{Use: "conformance", Short: "Upstream's end-to-end suite, on a host and in a tenant", SilenceErrors: true, SilenceUsage: true}
	set := command.PersistentFlags()
	set.StringSliceVar(&given.parts, "part", []string{"parallel", "serial"}, "what to run: parallel, serial, more, quick, quick-serial")
	set.StringVar(&given.focus, "focus", "", "run only specs whose names match this expression")
	set.StringVar(&given.skip, "skip", "", "leave out specs whose names match this expression")
	set.BoolVar(&given.onlyFailed, "only-failed", false, "run only those that failed last time")
	set.BoolVar(&given.resumed, "resume", false, "run only those that have not run yet")
	set.IntVar(&given.processes, "processes", 0, "how many specs run side by side, where they may (default: as the part has it)")
	set.BoolVar(&given.excepted, "excepted", false, "run those too that a tenant cannot have")
	set.BoolVar(&given.write, "report", false, "write the reports in e2e/conformance")
	for _, target := range []struct{ name, short string }{
		{conformance.Tenant, "Run the suite in a tenant with the default configuration"},
		{conformance.Host, "Run the suite on the host itself"},
		{"parity", "Run the suite on the host, then in a tenant on it, and compare"},
	} {
		command.AddCommand(&cobra.Command{Use: target.name, Short: target.short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd, target.name, given)
		}})
	}
	command.AddCommand(tools())
	return command
}

// expression is that of a flag; nil where it is empty.
func expression(flag, text string) (*regexp.Regexp, error) {
	if text == "" {
		return nil, nil
	}
	compiled, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	return compiled, nil
}

// choose turns flags into what is run; errors name the flag.
func choose(given flags) ([]conformance.Part, conformance.Selection, error) {
	selection := conformance.Selection{OnlyFailed: given.onlyFailed, Resume: given.resumed, Excepted: given.excepted}
	var err error
	if selection.Focus, err = expression("focus", given.focus); err != nil {
		return nil, selection, err
	}
	if selection.Skip, err = expression("skip", given.skip); err != nil {
		return nil, selection, err
	}
	var parts []conformance.Part
	for _, name := range given.parts {
		all := conformance.Parts()
		i := slices.IndexFunc(all, func(p conformance.Part) bool { return p.Name == name })
		if i < 0 {
			return nil, selection, fmt.Errorf("--part: no part %q", name)
		}
		if given.processes > 0 && all[i].Processes > 1 {
			all[i].Processes = given.processes
		}
		parts = append(parts, all[i])
	}
	return parts, selection, nil
}

// downPatience is how long taking down the host may take.
const downPatience = 2 * time.Minute

// acquire brings up a host of two nodes with volumes, images and a DNS, or finds it; release
// gives it back.
func acquire(ctx context.Context, repository string) (suite *conformance.Suite, release func() error, err error) {
	host, down, err := node.Acquire(ctx, repository, "conformance-host", node.Options{
		Name: node.NameFor("con", repository), Nodes: 2, Images: []image.Image{node.Product(filepath.Join(repository, "bin", "nestling"))},
	})
	if err != nil {
		return nil, nil, err
	}
	undo := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), downPatience)
		defer cancel()
		return down(ctx)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, undo())
		}
	}()
	drivers, err := csi.Build(ctx, repository)
	if err != nil {
		return nil, nil, err
	}
	storage, err := drivers.Start(ctx, host)
	if err != nil {
		return nil, nil, err
	}
	takeDown := undo
	undo = func() error { return errors.Join(storage.Stop(), takeDown()) }
	if suite, err = conformance.Build(ctx, repository, host); err != nil {
		return nil, nil, err
	}
	return suite, undo, nil
}

func run(cmd *cobra.Command, what string, given flags) (err error) {
	ctx, say := cmd.Context(), cmd.OutOrStdout()
	parts, selection, err := choose(given)
	if err != nil {
		return err
	}
	repository, err := node.Root(ctx)
	if err != nil {
		return err
	}
	suite, release, err := acquire(ctx, repository)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()

	exceptions, err := conformance.LoadExceptions()
	if err != nil {
		return err
	}
	all := map[string]*conformance.Results{}
	if what != conformance.Tenant {
		if all[conformance.Host], err = suite.Run(ctx, suite.Host(), parts, selection, exceptions, say); err != nil {
			return err
		}
	}
	if what != conformance.Host {
		tenant, err := suite.Tenant(ctx)
		if err != nil {
			return err
		}
		if all[conformance.Tenant], err = suite.Run(ctx, tenant, parts, selection, exceptions, say); err != nil {
			return err
		}
	}
	return judge(cmd, suite, repository, parts, all, exceptions, given.write)
}

// judge says what came out, writes the reports if wanted, and fails for every spec that
// failed without a known reason.
func judge(cmd *cobra.Command, suite *conformance.Suite, repository string, parts []conformance.Part, all map[string]*conformance.Results, exceptions *conformance.Exceptions, write bool) error {
	var unexplained []string
	where := environment(cmd.Context(), repository)
	for _, target := range []string{conformance.Host, conformance.Tenant} {
		results, ran := all[target]
		if !ran {
			continue
		}
		reports := byReport(target, parts)
		for _, name := range slices.Sorted(maps.Keys(reports)) {
			failed, err := tell(cmd, repository, name, write, conformance.Report{
				Target: target, Environment: where, Parts: reports[name], All: suite.Specs(), Results: results, Exceptions: exceptions,
			})
			if err != nil {
				return err
			}
			for _, spec := range failed {
				unexplained = append(unexplained, target+": "+spec)
			}
		}
	}
	if all[conformance.Host] != nil && all[conformance.Tenant] != nil {
		for _, part := range parts {
			host, tenant := all[conformance.Host].Took[part.Name], all[conformance.Tenant].Took[part.Name]
			if host > 0 && tenant > 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %.0f s on the host, %.0f s in the tenant: %.2f times\n", part.Name, host, tenant, tenant/host)
			}
		}
	}
	if len(unexplained) > 0 {
		return fmt.Errorf("%d specs failed, and exceptions.yaml has no reason:\n%s", len(unexplained), strings.Join(unexplained, "\n"))
	}
	return nil
}

// byReport are the parts that go into each report, by its file's name.
func byReport(target string, parts []conformance.Part) map[string][]conformance.Part {
	out := map[string][]conformance.Part{}
	for _, part := range parts {
		name := strings.ToUpper(target)
		if part.Name == conformance.More().Name {
			name += "-MORE"
		}
		out[name+".md"] = append(out[name+".md"], part)
	}
	return out
}

// tell prints the table of a report, writes the report if wanted, and returns what failed
// without a reason.
func tell(cmd *cobra.Command, repository, name string, write bool, report conformance.Report) ([]string, error) {
	text, err := report.Markdown()
	if err != nil {
		return nil, err
	}
	if err := publish(cmd, repository, name, text, write); err != nil {
		return nil, err
	}
	return report.Unexplained()
}

// publish prints what a report begins with, its table, and writes all of it if wanted.
func publish(cmd *cobra.Command, repository, name, text string, write bool) error {
	table, _, _ := strings.Cut(text, "\n## ")
	fmt.Fprintln(cmd.OutOrStdout(), "\n"+table)
	if !write {
		return nil
	}
	return os.WriteFile(filepath.Join(repository, "e2e", "conformance", name), []byte(text), 0o644)
}

// environment is the line of a report that says what it ran on.
func environment(ctx context.Context, repository string) string {
	commit, err := exec.CommandContext(ctx, "git", "-C", repository, "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	return fmt.Sprintf("Two nodes on one machine of %d cores, %s, commit %s.", runtime.NumCPU(), runtime.Version(), strings.TrimSpace(string(commit)))
}
