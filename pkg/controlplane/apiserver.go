package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/egressselector"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	aggregatorapiserver "k8s.io/kube-aggregator/pkg/apiserver"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	"k8s.io/kubernetes/pkg/controlplane/reconcilers"
	"k8s.io/utils/clock"

	"nestling.dev/nestling/pkg/controlplane/apidocs"
	"nestling.dev/nestling/pkg/controlplane/apigroup"
	"nestling.dev/nestling/pkg/controlplane/turns"
)

// APIServer is upstream's kube-apiserver as a component.
type APIServer struct {
	opts    APIServerOptions
	serving *servingCertificate
	address atomic.Pointer[address]
}

// address is what is known once the server listens.
type address struct {
	port     int
	loopback *rest.Config
}

// NewAPIServer checks the options. Nothing is listened on or written before Run.
func NewAPIServer(opts APIServerOptions) (*APIServer, error) {
	completed, err := opts.complete()
	if err != nil {
		return nil, err
	}
	serving, err := newServingCertificate(completed, clock.RealClock{})
	if err != nil {
		return nil, fmt.Errorf("apiserver: %w", err)
	}
	return &APIServer{opts: completed, serving: serving}, nil
}

// Name of the component.
func (s *APIServer) Name() string { return "apiserver" }

// Run serves until ctx ends, and then until open requests have ended, which for
// watches takes as long as the grace period in the flags. ready is called when
// /readyz passes, without the additional ReadyChecks: those may be waiting for
// components that start later.
func (s *APIServer) Run(ctx context.Context, ready func()) error {
	listener, err := s.listen(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // a second close, if upstream got so far

	server, generic, err := s.build(ctx, listener)
	if err != nil {
		return err
	}
	prepared, err := server.PrepareRun()
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	generic.OpenAPIV3Config.Definitions = nil // the documents are made
	loopback := generic.LoopbackClientConfig
	s.address.Store(&address{port: listener.Addr().(*net.TCPAddr).Port, loopback: loopback})

	// A stop waits for the end of the start: some of upstream's start hooks end
	// the process when they are interrupted.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	started := make(chan struct{})
	var watchers sync.WaitGroup
	watchers.Go(func() {
		defer close(started)
		if s.awaitReady(serving, loopback) == nil {
			ready()
		}
	})
	watchers.Go(func() { s.serving.keep(serving) })
	watchers.Go(func() {
		defer stop()
		select {
		case <-ctx.Done():
		case <-serving.Done(): // it ended by itself
			return
		}
		select {
		case <-started:
		case <-time.After(s.opts.SettleTimeout):
		}
	})
	err = prepared.Run(serving)
	stop()
	watchers.Wait()
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// listen binds the port before anything is written or built, so that the most
// common mistake costs nothing and has one clear line.
func (s *APIServer) listen(ctx context.Context) (net.Listener, error) {
	if s.opts.Listener != nil {
		return s.opts.Listener, nil
	}
	bind := net.JoinHostPort(s.opts.BindAddress.String(), strconv.Itoa(s.opts.Port))
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", bind)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("address %s is in use by another process", bind)
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w", bind, err)
	}
	return listener, nil
}

// build makes upstream's chain of three API servers.
func (s *APIServer) build(ctx context.Context, listener net.Listener) (*aggregatorapiserver.APIAggregator, *genericapiserver.Config, error) {
	files, err := s.opts.writeFiles(s.serving)
	if err != nil {
		return nil, nil, err
	}
	run := options.NewServerRunOptions()
	flagSets := run.Flags()
	if err := setFlags(&flagSets, s.opts.flags(files), s.opts.ExtraArgs); err != nil {
		return nil, nil, err
	}
	run.SecureServing.Listener = listener
	run.EnableLogsHandler = false // would serve /var/log; its flag prints that it is deprecated
	s.opts.register(run.Admission.GenericAdmission)

	completedOptions, err := run.Complete(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("options: %w", err)
	}
	if errs := completedOptions.Validate(); len(errs) > 0 {
		return nil, nil, fmt.Errorf("options: %w", utilerrors.NewAggregate(errs))
	}
	config, err := app.NewConfig(completedOptions)
	if err != nil {
		return nil, nil, fmt.Errorf("configure: %w", err)
	}
	if err := s.adjust(config); err != nil {
		return nil, nil, fmt.Errorf("configure: %w", err)
	}
	generic := config.KubeAPIs.ControlPlane.Generic
	generic.SkipOpenAPIInstallation = true // see apidocs
	apidocs.LetGo(generic.OpenAPIConfig, generic.OpenAPIV3Config)
	bootstrap := replaceBootstrap(config, s.groupPolicy())
	completed, err := config.Complete()
	if err != nil {
		return nil, nil, fmt.Errorf("configure: %w", err)
	}
	server, err := app.CreateServerChain(completed)
	if err != nil {
		return nil, nil, fmt.Errorf("build: %w", err)
	}
	if err := s.extend(server, bootstrap); err != nil {
		return nil, nil, err
	}
	apidocs.Install(next(server), generic.OpenAPIConfig, generic.OpenAPIV3Config)
	return server, generic, nil
}

// adjust sets what has no flag.
func (s *APIServer) adjust(config *app.Config) error {
	// Upstream would look at the files once a minute, and never see two change as one.
	config.Aggregator.GenericConfig.SecureServing.Cert = s.serving
	if s.opts.ServiceIP != nil {
		config.KubeAPIs.Extra.APIServerServiceIP = s.opts.ServiceIP
	}
	if dial := s.opts.Kubelet; dial != nil {
		config.KubeAPIs.Extra.KubeletClientConfig.Lookup = func(egressselector.NetworkContext) (utilnet.DialFunc, error) {
			return dial, nil
		}
	}
	if dial := s.opts.Outbound; dial != nil {
		setOutbound(config, dial)
	}
	if config.KubeAPIs.Extra.EndpointReconcilerType == reconcilers.MasterCountReconcilerType {
		endpoints, err := newSteadyEndpoints(config.KubeAPIs.ControlPlane.Generic.LoopbackClientConfig)
		if err != nil {
			return err
		}
		config.KubeAPIs.Extra.EndpointReconcilerConfig.Reconciler = endpoints
	}
	confineScraper(config)
	if err := tellNodes(config); err != nil {
		return err
	}
	upstream := config.KubeAPIs.ControlPlane.Generic
	upstream.RESTOptionsGetter = turns.For(corev1.Resource("services"), upstream.RESTOptionsGetter)
	for _, group := range s.opts.Groups {
		group.Describe(upstream)
	}
	chain := config.Aggregator.GenericConfig.BuildHandlerChainFunc
	config.Aggregator.GenericConfig.BuildHandlerChainFunc = func(handler http.Handler, c *genericapiserver.Config) http.Handler {
		handler = apigroup.WithDiscovery(handler, s.opts.Groups)
		if s.opts.Activity != nil {
			handler = s.opts.Activity.Wrap(handler)
		}
		return withControllerManagerAgent(chain(handler, c))
	}
	return nil
}

// groupPolicy is that of our own API groups.
func (s *APIServer) groupPolicy() clusterPolicy {
	var out clusterPolicy
	for _, group := range s.opts.Groups {
		out.roles = append(out.roles, group.ClusterRoles...)
		out.bindings = append(out.bindings, group.ClusterRoleBindings...)
	}
	return out
}

// next is the server of upstream's own API, behind the aggregator.
func next(server *aggregatorapiserver.APIAggregator) *genericapiserver.GenericAPIServer {
	return server.GenericAPIServer.NextDelegate().(*genericapiserver.GenericAPIServer)
}

// extend adds to the outermost server of the chain, which sees every request first, and
// API groups to the next one, to which that hands what no APIService claims.
func (s *APIServer) extend(server *aggregatorapiserver.APIAggregator, bootstrap genericapiserver.PostStartHookFunc) error {
	for _, group := range s.opts.Groups {
		if err := group.Install(next(server)); err != nil {
			return err
		}
	}
	if err := server.GenericAPIServer.AddReadyzChecks(s.opts.ReadyChecks...); err != nil {
		return fmt.Errorf("add ready checks: %w", err)
	}
	if bootstrap != nil {
		if err := server.GenericAPIServer.AddPostStartHook(bootstrapHook, bootstrap); err != nil {
			return fmt.Errorf("add a start hook: %w", err)
		}
	}
	if s.opts.Metrics != nil {
		// Installing upstream's handler registered the metrics of the API
		// server; only then may it go.
		mux := server.GenericAPIServer.Handler.NonGoRestfulMux
		mux.Unregister(MetricsPath)
		mux.Handle(MetricsPath, s.opts.Metrics)
	}
	return nil
}

// readyInterval between two looks at /readyz while starting.
const readyInterval = 20 * time.Millisecond

// awaitReady blocks until /readyz passes, but for the additional checks.
func (s *APIServer) awaitReady(ctx context.Context, loopback *rest.Config) error {
	client, err := kubernetes.NewForConfig(loopback)
	if err != nil {
		return err
	}
	return wait.PollUntilContextCancel(ctx, readyInterval, true, func(ctx context.Context) (bool, error) {
		request := client.RESTClient().Get().AbsPath("/readyz")
		for _, check := range s.opts.ReadyChecks {
			request = request.Param("exclude", check.Name())
		}
		status := 0
		request.Do(ctx).StatusCode(&status)
		return status == http.StatusOK, nil
	})
}

// SetSANs replaces the names and IPs that the serving certificate has over those that are
// always in it. Connections that are made from now on see them.
func (s *APIServer) SetSANs(sans []string) error { return s.serving.setNames(sans) }

// ServingExpires is when the serving certificate would end; it is renewed before.
func (s *APIServer) ServingExpires() time.Time { return s.serving.expires() }

// ClientConfig connects to this server as user, with a client certificate of
// its own and without a client-side rate limit. It can be called once the
// server is ready.
func (s *APIServer) ClientConfig(user string, groups ...string) (*rest.Config, error) {
	address := s.address.Load()
	if address == nil {
		return nil, errors.New("the API server is not ready")
	}
	cert, key, err := s.opts.PKI.Issue(clientLeaf(user, groups))
	if err != nil {
		return nil, err
	}
	return &rest.Config{
		Host: address.loopback.Host,
		TLSClientConfig: rest.TLSClientConfig{
			CAData:   s.opts.PKI.CAPEM(),
			CertData: cert,
			KeyData:  key,
		},
		QPS: -1, // the API server's own fairness is the limit
	}, nil
}

// LoopbackConfig connects as the API server itself: system:masters, and
// "system:apiserver" in the audit. It is for the API server's own plugins, and
// nil before the server is ready.
func (s *APIServer) LoopbackConfig() *rest.Config {
	if address := s.address.Load(); address != nil {
		return rest.CopyConfig(address.loopback)
	}
	return nil
}

// Port that it listens on, once ready.
func (s *APIServer) Port() int {
	if address := s.address.Load(); address != nil {
		return address.port
	}
	return s.opts.Port
}
