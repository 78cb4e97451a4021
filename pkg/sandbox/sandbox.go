package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/pkg/simhost"
)

// Options of a sandbox. The zero value is good where bin/nestling lies beside
// the running program.
type Options struct {
	// Dir holds everything on disk. Its path must be short, see simhost. Empty
	// means a temporary directory, removed by Stop.
	Dir string

	// LogDir receives NAME.log of every tenant. Default: Dir.
	LogDir string

	// Binary is nestling. Default: the one beside the running program.
	Binary string

	// Namespace on the host that holds the tenants. Default "nestling".
	Namespace string

	// Tenants are their names. Default "sandbox". They share the namespace.
	Tenants []string

	// Configure changes the configuration file of a tenant before its first
	// start. Optional.
	Configure func(tenant string, file *config.Config)

	// Install changes how a tenant is installed. Optional.
	Install func(tenant string, options *deploy.Options)

	// Host is the simulated host; Dir, Namespaces and Observe of it are set here.
	Host simhost.Options

	// Observe is called when a step of the start is done, with the time it
	// took. It is not called twice at once.
	Observe func(step string, took time.Duration)
}

// Sandbox is a running host with its tenants.
type Sandbox struct {
	opts    Options
	ownDir  bool
	host    *simhost.Host
	stop    context.CancelFunc // of the host
	tenants map[string]*Tenant
}

// Start starts host and tenants, and returns when all are ready. Stop must
// follow, also when ctx has ended.
func Start(ctx context.Context, opts Options) (*Sandbox, error) {
	opts, err := opts.complete()
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	s := &Sandbox{tenants: map[string]*Tenant{}}
	if opts.Dir == "" {
		s.ownDir = true
		if opts.Dir, err = os.MkdirTemp("", "nestling-sandbox-"); err != nil {
			return nil, fmt.Errorf("sandbox: %w", err)
		}
	}
	if opts.LogDir == "" {
		opts.LogDir = opts.Dir
	}
	s.opts = opts
	if err := s.start(ctx); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx) // everything else follows from it
		}
		return nil, errors.Join(fmt.Errorf("sandbox: %w", err), s.Stop())
	}
	return s, nil
}

func (o Options) complete() (Options, error) {
	if o.Namespace == "" {
		o.Namespace = "nestling"
	}
	if len(o.Tenants) == 0 {
		o.Tenants = []string{"sandbox"}
	}
	for i, name := range o.Tenants {
		if detail := config.ValidateTenant(name); detail != "" {
			return o, fmt.Errorf("tenant: %s", detail)
		}
		if slices.Contains(o.Tenants[:i], name) {
			return o, fmt.Errorf("tenant: %q is there twice", name)
		}
	}
	if o.Binary == "" {
		program, err := os.Executable()
		if err != nil {
			return o, err
		}
		o.Binary = filepath.Join(filepath.Dir(program), "nestling")
	}
	if _, err := os.Stat(o.Binary); err != nil {
		return o, fmt.Errorf("the program that a tenant runs: %w", err)
	}
	observe, mu := o.Observe, new(sync.Mutex)
	o.Observe = func(step string, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		if observe != nil {
			observe(step, took)
		}
	}
	o.Host.Namespaces = []string{o.Namespace}
	o.Host.Observe = func(step string, took time.Duration) { o.Observe("host "+step, took) }
	return o, nil
}

func (s *Sandbox) start(ctx context.Context) error {
	s.opts.Host.Dir = filepath.Join(s.opts.Dir, "host")
	host, err := simhost.New(s.opts.Host)
	if err != nil {
		return err
	}
	// The host outlives ctx, so that tenants can end in order.
	hostContext, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.host, s.stop = host, stop
	go func() { _ = host.Run(hostContext) }()
	if err := s.await(ctx, host.APIReady()); err != nil {
		return err
	}

	// Nothing is worth waiting for when the host or one tenant has failed.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-host.Done():
			cancel()
		case <-ctx.Done():
		}
	}()

	// Tenants need no more than the API; the rest of the host starts beside them.
	results := make(chan error, len(s.opts.Tenants))
	for i, name := range s.opts.Tenants {
		tenant := newTenant(name, s, filepath.Join(s.opts.Dir, fmt.Sprintf("t%d", i)))
		s.tenants[name] = tenant
		go func() {
			since := time.Now()
			err := tenant.start(ctx)
			if err != nil {
				cancel()
			} else {
				s.opts.Observe("tenant "+name, time.Since(since))
			}
			results <- err
		}()
	}
	for range s.opts.Tenants {
		// The first to fail says why; the others were told to stop.
		if result := <-results; err == nil {
			err = result
		}
	}
	select {
	case <-host.Done():
		return host.Err()
	default:
	}
	if err != nil {
		return err
	}
	return s.await(ctx, host.Ready())
}

// await waits for something of the host.
func (s *Sandbox) await(ctx context.Context, event <-chan struct{}) error {
	select {
	case <-event:
		return nil
	case <-s.host.Done():
		return s.host.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stop ends the tenants, then the host, and removes what is left. It can be
// called more than once.
func (s *Sandbox) Stop() error {
	results := make(chan error, len(s.tenants))
	for _, tenant := range s.tenants {
		go func() { results <- tenant.Stop() }()
	}
	var err error
	for range s.tenants {
		err = errors.Join(err, <-results)
	}
	if s.host != nil {
		s.stop()
		<-s.host.Done()
		err = errors.Join(err, s.host.Err())
	}
	if s.ownDir {
		err = errors.Join(err, os.RemoveAll(s.opts.Dir))
	}
	return err
}

// Host is the simulated host: its nodes can be made to die, its API to stop.
func (s *Sandbox) Host() *simhost.Host { return s.host }

// HostConfig connects to the host as its administrator.
func (s *Sandbox) HostConfig() *rest.Config { return s.host.Config() }

// HostKubeconfig is the same as a file.
func (s *Sandbox) HostKubeconfig() ([]byte, error) {
	return kubeconfig("nestling-sandbox-host", s.opts.Namespace, s.host.Config())
}

// Namespace on the host that holds the tenants.
func (s *Sandbox) Namespace() string { return s.opts.Namespace }

// Tenant with that name; nil if there is none.
func (s *Sandbox) Tenant(name string) *Tenant { return s.tenants[name] }
