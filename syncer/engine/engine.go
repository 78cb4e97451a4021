package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"nestling.dev/nestling/syncer/resource"
)

// streamWorkers is how many objects of a kind without a virtual cache (events) are
// worked on at once: few, so that a burst of pods is not delayed by what is told of it.
const streamWorkers = 2

// Options of an engine. Virtual, Host, Kinds and Env are required.
type Options struct {
	Virtual, Host *rest.Config
	Kinds         []resource.Kind
	Env           resource.Env // View and Now are filled in by the engine
	// Recorder tells virtual objects' users what happens to them.
	Recorder record.EventRecorder
	Metrics  *Metrics // nil: not measured
	// Workers is how many objects of one kind are worked on at once; 0 is 16.
	Workers int
	Breaker Breaker
	Now     func() time.Time // nil: time.Now
	// HostIsBack is called when the host answers again after it had not. Nil: nothing.
	HostIsBack func()
}

// Engine syncs the kinds of one tenant.
type Engine struct {
	options    Options
	order      []*syncedKind
	kinds      map[string]*syncedKind // by plural
	kindNamed  map[string]*syncedKind // by kind
	references *references
	breaker    *breaker
	synced     atomic.Bool
	skew       *skew
	outcomes   *outcomes
	contact    contact
}

// New makes an engine and connects nothing yet.
func New(options Options) (*Engine, error) {
	if options.Env.Tenant == "" || options.Env.HostNamespace == "" || options.Env.Identity == "" {
		return nil, errors.New("syncer: tenant, host namespace and identity are required")
	}
	if options.Workers == 0 {
		options.Workers = 16
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Metrics == nil {
		options.Metrics = NewMetrics(nil)
	}
	if options.Recorder == nil {
		options.Recorder = &record.FakeRecorder{}
	}
	e := &Engine{
		options: options, kinds: map[string]*syncedKind{}, kindNamed: map[string]*syncedKind{},
		references: newReferences(), breaker: newBreaker(options.Breaker, options.Metrics.reportHeld),
		outcomes: newOutcomes(),
	}
	var err error
	if e.skew, err = newSkew(options.Virtual, options.Host, func() []*syncedKind { return e.order }); err != nil {
		return nil, fmt.Errorf("syncer: %w", err)
	}
	for _, kind := range options.Kinds {
		synced, err := newSyncedKind(e.skew.wrap(kind), options, e.hostIsBack, e.heardHost)
		if err != nil {
			return nil, fmt.Errorf("syncer: %s: %w", kind.Name, err)
		}
		e.order = append(e.order, synced)
		e.kinds[kind.Resource.Resource] = synced
		e.kindNamed[kind.Name] = synced
	}
	options.Metrics.follow(e.order)
	return e, nil
}

// Env is what translations know now.
func (e *Engine) Env() resource.Env {
	env := e.options.Env
	env.View = view{e}
	env.Now = e.options.Now()
	return env
}

// VirtualInformer is the informer of a kind's virtual objects, nil if there is none.
func (e *Engine) VirtualInformer(plural string) cache.SharedIndexInformer {
	if kind, ok := e.kinds[plural]; ok {
		return kind.virtualInformer
	}
	return nil
}

// HostInformer is the informer of a kind's host objects, nil if there is none.
func (e *Engine) HostInformer(plural string) cache.SharedIndexInformer {
	if kind, ok := e.kinds[plural]; ok {
		return kind.hostInformer
	}
	return nil
}

// HasSynced reports whether the caches of both sides have been filled.
func (e *Engine) HasSynced() bool { return e.synced.Load() }

// Run syncs until ctx ends and all its goroutines have ended. It calls ready when
// both sides' caches are filled; before that nothing is written.
func (e *Engine) Run(ctx context.Context, ready func()) error {
	var informers, workers sync.WaitGroup
	informerContext, stopInformers := context.WithCancel(ctx)
	defer informers.Wait()
	defer stopInformers()

	var synced []cache.InformerSynced
	for _, kind := range e.order {
		handlers, err := e.watchKind(kind)
		if err != nil {
			return fmt.Errorf("syncer: watch %s: %w", kind.Name, err)
		}
		synced = append(synced, handlers...)
		for _, informer := range []cache.SharedIndexInformer{kind.virtualInformer, kind.hostInformer} {
			if informer != nil {
				informers.Go(func() { informer.RunWithContext(informerContext) })
			}
		}
	}
	informers.Go(func() { e.skew.run(informerContext) })
	// Wait for handlers, not just for stores: the reference index is built by them.
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		for _, kind := range e.order {
			kind.queue.ShutDown()
		}
		return nil
	}
	select {
	case <-e.skew.looked: // or the first writes would be of more than the host knows
	case <-ctx.Done():
	}
	e.synced.Store(true)
	klog.FromContext(ctx).Info("Syncer caches are filled", "kinds", len(e.order))
	for _, kind := range e.order {
		if kind.Direction == resource.ReadOnly {
			continue
		}
		count := e.options.Workers
		if kind.Unsynced {
			count = streamWorkers
		}
		for range count {
			workers.Go(func() { e.loop(kind).Run(ctx) })
		}
	}
	ready()
	<-ctx.Done()
	for _, kind := range e.order {
		kind.queue.ShutDown()
	}
	workers.Wait()
	return nil
}
