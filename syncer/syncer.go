package syncer

import (
	"context"
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"

	"nestling.dev/nestling/syncer/engine"
	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
	"nestling.dev/nestling/syncer/tokens"
)

// Options of a tenant's syncer. Virtual, Host and Env are required.
type Options struct {
	Virtual, Host *rest.Config
	Env           resource.Env
	Kinds         resources.Options
	Workers       int
	Breaker       engine.Breaker
	// RotateTokensAt is the fraction of its life at which a ServiceAccount token is
	// renewed.
	RotateTokensAt float64
	Registerer     prometheus.Registerer // nil: not measured
}

// Syncer is a tenant's syncer.
type Syncer struct {
	engine      *engine.Engine
	kinds       resources.Options
	tokens      *tokens.Controller
	broadcaster record.EventBroadcaster
	sink        *typedcorev1.EventSinkImpl
}

// New makes a syncer and connects nothing yet.
func New(options Options) (*Syncer, error) {
	virtual, err := kubernetes.NewForConfig(options.Virtual)
	if err != nil {
		return nil, fmt.Errorf("virtual client: %w", err)
	}
	host, err := kubernetes.NewForConfig(options.Host)
	if err != nil {
		return nil, fmt.Errorf("host client: %w", err)
	}
	broadcaster := record.NewBroadcaster()
	s := &Syncer{kinds: options.Kinds, broadcaster: broadcaster}
	recorder := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: engine.FieldManager})
	e, err := engine.New(engine.Options{
		Virtual: options.Virtual, Host: options.Host, Env: options.Env,
		Kinds:    resources.Registry(options.Kinds),
		Recorder: recorder,
		Metrics:  engine.NewMetrics(options.Registerer),
		Workers:  options.Workers, Breaker: options.Breaker,
		HostIsBack: func() { s.tokens.Retry() },
	})
	if err != nil {
		broadcaster.Shutdown()
		return nil, err
	}
	s.engine = e
	s.tokens = tokens.New(tokens.Options{
		Virtual: virtual, Host: host,
		Pods: e.VirtualInformer("pods"), HostSecrets: e.HostInformer("secrets"),
		Env: e.Env, RotateAt: options.RotateTokensAt, Workers: options.Workers, Recorder: recorder, Failed: e.TellRefusal,
		Metrics: tokens.NewMetrics(options.Registerer),
	})
	s.sink = &typedcorev1.EventSinkImpl{Interface: virtual.CoreV1().Events("")}
	return s, nil
}

// Name of the component.
func (s *Syncer) Name() string { return "syncer" }

// HasSynced reports whether the caches of both sides have been filled.
func (s *Syncer) HasSynced() bool { return s.engine.HasSynced() }

// Run syncs until ctx ends, and returns when everything it started has ended.
func (s *Syncer) Run(ctx context.Context, ready func()) error {
	s.broadcaster.StartRecordingToSink(s.sink)
	defer s.broadcaster.Shutdown()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	defer group.Wait()
	failed := make(chan error, 1)
	group.Go(func() {
		defer cancel()
		if err := s.tokens.Run(ctx); err != nil {
			failed <- err
		}
	})
	err := s.engine.Run(ctx, ready)
	cancel()
	group.Wait()
	select {
	case tokensErr := <-failed:
		return fmt.Errorf("tokens: %w", tokensErr)
	default:
		return err
	}
}

// HostService is what a virtual Service becomes on the host.
func (s *Syncer) HostService(virtual *corev1.Service) (*corev1.Service, error) {
	return resources.ServiceToHost(s.engine.Env(), virtual)
}

// Words is what the host says about the host object of a virtual one, in the tenant's words.
func (s *Syncer) Words(gr schema.GroupResource, virtual resource.Object, text string) string {
	return s.engine.Words(gr, virtual, text)
}

// Tries reports whether the host can be asked about objects of a resource before they are
// written, and in which version.
func (s *Syncer) Tries(gr schema.GroupResource) (schema.GroupVersion, bool) {
	return s.engine.Tries(gr)
}

// Trials are the writes to the host that a virtual object on its way would lead to: see
// engine.Engine.
func (s *Syncer) Trials(ctx context.Context, gr schema.GroupResource, virtual, old resource.Object) ([]engine.Trial, error) {
	return s.engine.Trials(ctx, gr, virtual, old)
}

// Arrived reports whether a virtual object has its host object.
func (s *Syncer) Arrived(gr schema.GroupResource, virtual resource.Object) bool {
	return s.engine.Arrived(gr, virtual)
}

// HostObjects are what this cluster has on the host of a resource: see engine.Engine.
func (s *Syncer) HostObjects(gr schema.GroupResource) []resource.Object {
	return s.engine.HostObjects(gr)
}
