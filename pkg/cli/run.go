package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/child"
	"nestling.dev/nestling/pkg/collect"
	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/pkg/fleet"
)

const (
	// runTTL is longer than the jobs of most, and short enough for what is left of one that died.
	runTTL = time.Hour
	// runGrace is how long a command may go on that was asked to end: CI systems kill us after 10 s.
	runGrace = 7 * time.Second
	// runDeleteTimeout bounds the wait for the tenant's end; the host goes on with it.
	runDeleteTimeout = time.Minute
	// runCollectTimeout bounds the report of a failure.
	runCollectTimeout = time.Minute
)

func newRunCommand() *cobra.Command {
	r := &runner{}
	command := &cobra.Command{
		Use:   "run NAME [flags] -- CMD…",
		Short: "Make a tenant, run a command against it, and delete it",
		Long: `Make a tenant, run a command whose KUBECONFIG leads to it, and delete the tenant, however the command ends: this is a
cluster per CI job.

The tenant also ends by itself after --ttl, so that nothing is left of a job that was killed. SIGINT and SIGTERM are passed
on to the command, which is killed when it has not ended after 7 s, or at a second signal; then the tenant is deleted, which
no signal prevents. The command runs in a process group of its own, of which nothing is left at the end.

A tenant of an earlier run under the same name, whole or half, is adopted and brought to what the flags say: the earlier
run, if it is still alive, leaves its deletion to this one. A tenant that was made in another way is used as it is, and
stays; with --delete it is deleted as well.

With --collect, if the command fails, objects, events, logs and metrics of both sides are written to DIR before the end, as
by nestling collect.

Exit codes: the command's own, 128+N if signal N ended it, 126 if it cannot be run, 127 if it is not found; before it runs,
2 if the command line or a file that it names is wrong, and 1 for anything else, in one line on standard error. What goes
wrong after the command is told, and does not change the code.`,
		Example: `  nestling run pr-17 -n ci --ephemeral --collect report -- make integration-test
  nestling run pr-17 -n ci --ttl 20m -- sh -c 'kubectl apply -f app.yaml && kubectl wait --for=condition=Available deployment/app'`,
		Args: cobra.ArbitraryArgs,
	}
	flags := command.Flags()
	r.host, r.deploy, r.ways = addHostFlags(flags), addDeployFlags(flags), addWayFlags(flags)
	flags.DurationVar(&r.ttl, "ttl", runTTL, "the tenant removes itself this long from now, whatever becomes of us")
	flags.DurationVar(&r.idleTTL, "idle-ttl", 0, "the tenant removes itself when its API was not used for so long; 0 is never")
	flags.DurationVar(&r.timeout, "timeout", fleet.DefaultTimeout, "give up after waiting so long for the tenant")
	flags.BoolVar(&r.createNamespace, "create-namespace", false, "make the host namespace if it does not exist; it is never deleted")
	flags.BoolVar(&r.keep, "keep", false, "leave the tenant to its --ttl instead of deleting it")
	flags.BoolVar(&r.deleteAny, "delete", false, "delete the tenant even if it was not made by a run")
	flags.StringVar(&r.collect, "collect", "", "directory for a report of both sides if anything fails: one that is empty, or that holds an earlier one")
	flags.BoolVar(&r.wait, "wait", true, "wait until nothing is left of the tenant, a minute at most")
	command.RunE = func(command *cobra.Command, args []string) error {
		if err := r.prepare(command, args); err != nil {
			return err
		}
		return r.run(command)
	}
	return command
}

// runTenants is what a run needs of a fleet.
type runTenants interface {
	Run(ctx context.Context, tenant, namespace string) (run string, exists bool, err error)
	Create(ctx context.Context, o fleet.CreateOptions) (*fleet.Created, error)
	Await(ctx context.Context, o fleet.AwaitOptions) ([]byte, error)
	Delete(ctx context.Context, o fleet.DeleteOptions) (*fleet.Deleted, error)
	AwaitGone(ctx context.Context, tenant, namespace string, tell func(fleet.Step)) error
}

// runner is one run. Its fields are set by flags, then by prepare, then by run.
type runner struct {
	host   *hostFlags
	deploy *deployFlags
	ways   *wayFlags

	ttl, idleTTL, timeout                  time.Duration
	createNamespace, keep, deleteAny, wait bool
	collect                                string

	argv    []string
	options deploy.Options
	config  *rest.Config
	tenants runTenants
	out     io.Writer

	// foreign is a tenant that no run has made.
	foreign bool
}

// prepare finds everything that is wrong with the command line.
func (r *runner) prepare(command *cobra.Command, args []string) error {
	name, argv, err := nameAndCommand(command, args)
	if err != nil {
		return err
	}
	if len(argv) == 0 {
		return &usageError{fmt.Errorf("CMD: is missing: nestling %s", command.Use)}
	}
	switch {
	case r.ttl < time.Second:
		return &usageError{fmt.Errorf("--ttl: %s is less than a second", r.ttl)}
	case r.idleTTL != 0 && r.idleTTL < time.Second:
		return &usageError{fmt.Errorf("--idle-ttl: %s is less than a second", r.idleTTL)}
	case r.timeout <= 0:
		return checkTimeout(r.timeout)
	case r.keep && r.deleteAny:
		return &usageError{errors.New("--keep and --delete contradict each other")}
	}
	if r.collect != "" {
		if err := collect.CheckDirectory(r.collect); err != nil {
			return &usageError{fmt.Errorf("--collect: %w", err)}
		}
	}
	r.argv = argv
	if r.options, err = r.deploy.options(name); err != nil {
		return err
	}
	if r.config, r.options.Namespace, err = r.host.connect(); err != nil {
		return err
	}
	if err := r.options.Validate(); err != nil {
		return &usageError{err}
	}
	r.options.Run = rand.Text()
	r.out = command.ErrOrStderr()
	r.tenants, err = fleet.New(r.config)
	return err
}

// run does the three things, and the third whatever happens in the others.
func (r *runner) run(command *cobra.Command) error {
	// From here on signals do not end us. The context does end with the first of them, and so does what waits.
	signals, stop := forwarded()
	defer stop()
	ctx := command.Context()
	result, err := r.use(ctx, command, signals)
	// Whom the CI system ends has no time for a report.
	r.delete(context.WithoutCancel(ctx), signals, result.Asked == nil && ctx.Err() == nil)
	return ended(result, err)
}

// use runs the command against the tenant. A failure is reported while the tenant is still there.
func (r *runner) use(ctx context.Context, command *cobra.Command, signals <-chan os.Signal) (child.Result, error) {
	kubeconfig, err := r.tenant(ctx)
	if errors.Is(ctx.Err(), context.Canceled) {
		return child.Result{}, errors.New("interrupted before the command began")
	}
	if err != nil {
		r.report(ctx, nil, err.Error())
		return child.Result{}, err
	}
	open, err := r.ways.openFile(ctx, r.config, r.options.Tenant, r.options.Namespace, kubeconfig, r.out)
	if err != nil {
		return child.Result{}, err
	}
	result, err := open.run(command, r.argv, signals, runGrace)
	if err == nil && result.Code != 0 && result.Asked == nil && ctx.Err() == nil {
		r.report(ctx, open, fmt.Sprintf("%s ended with code %d", r.argv[0], result.Code))
	}
	if leftover := open.close(); leftover != nil {
		r.warn(leftover)
	}
	return result, err
}

// report collects both sides, if that is wanted, by the way that is open, or by one that there may be.
func (r *runner) report(ctx context.Context, open *way, reason string) {
	if r.collect == "" {
		return
	}
	options := collect.Options{Tenant: r.options.Tenant, Namespace: r.options.Namespace, Host: r.config, Timeout: runCollectTimeout, Reason: reason}
	if open != nil {
		options.Virtual, options.Unreachable = virtualConfig(ctx, open.Kubeconfig)
	} else {
		kubeconfig, err := storedKubeconfig(ctx, r.config, options.Tenant, options.Namespace)
		if err != nil {
			r.warn(err)
			return
		}
		defer r.ways.reach(ctx, &options, kubeconfig, r.out)()
	}
	sink, err := collect.Directory(r.collect)
	if err == nil {
		err = report(ctx, options, sink, r.out)
	}
	if err != nil {
		r.warn(err)
	}
}

// tenant makes one, or takes the one that is there.
func (r *runner) tenant(ctx context.Context) ([]byte, error) {
	name, namespace := r.options.Tenant, r.options.Namespace
	before, exists, err := r.tenants.Run(ctx, name, namespace)
	if err != nil {
		r.foreign = true // nobody knows whose it is
		return nil, err
	}
	if r.foreign = exists && before == ""; r.foreign {
		stays := "it is used as it is, and stays"
		if r.deleteAny {
			stays = "it is used as it is, and deleted at the end"
		}
		fmt.Fprintf(r.out, "nestling: tenant %s was not made by nestling run: %s\n", name, stays)
		return r.tenants.Await(ctx, fleet.AwaitOptions{Tenant: name, Namespace: namespace, Timeout: r.timeout, Progress: late(steps(r.out))})
	}
	created, err := r.tenants.Create(ctx, fleet.CreateOptions{
		Deploy: r.options, TTL: r.ttl, IdleTTL: r.idleTTL, CreateNamespace: r.createNamespace,
		Timeout: r.timeout, Progress: steps(r.out),
	})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(r.out, "nestling: tenant %s removes itself at %s at the latest\n", name, created.ExpiresAt.UTC().Format(time.RFC3339))
	return created.Kubeconfig, nil
}

// delete removes the tenant if it is this run's, and only tells what goes wrong: the command's end is what counts, and
// the tenant ends by itself. A further signal ends the waiting, and nothing else.
func (r *runner) delete(ctx context.Context, signals <-chan os.Signal, wait bool) {
	name, namespace := r.options.Tenant, r.options.Namespace
	switch {
	case r.foreign && !r.deleteAny:
		return
	case r.keep:
		fmt.Fprintf(r.out, "nestling: tenant %s is kept until then; sooner by: nestling delete %s -n %s\n", name, name, namespace)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, runDeleteTimeout)
	defer cancel()
	if !r.foreign {
		now, exists, err := r.tenants.Run(ctx, name, namespace)
		switch {
		case err == nil && !exists:
			return
		case err == nil && now != r.options.Run:
			fmt.Fprintf(r.out, "nestling: tenant %s is another run's by now, which deletes it\n", name)
			return
		case err != nil:
			r.warn(err)
		}
	}
	deleted := fleet.DeleteOptions{Tenant: name, Namespace: namespace, NoWait: true, Timeout: runDeleteTimeout, Progress: steps(r.out)}
	_, err := r.tenants.Delete(ctx, deleted)
	var absent *fleet.NotFoundError
	if err != nil && !errors.As(err, &absent) {
		r.warn(fmt.Errorf("tenant %s is not deleted, and removes itself when its time is over: %w", name, err))
		return
	}
	if !wait || !r.wait {
		return
	}
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-signals:
			stop()
		case <-waiting.Done():
		}
	}()
	if err := r.tenants.AwaitGone(waiting, name, namespace, steps(r.out)); err != nil && waiting.Err() == nil {
		r.warn(err)
	}
}

func (r *runner) warn(err error) { fmt.Fprintln(r.out, "nestling:", oneLine(err)) }
