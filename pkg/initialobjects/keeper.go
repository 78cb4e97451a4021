package initialobjects

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
)

const (
	// FieldManager owns what the operator says.
	FieldManager = "nestling-initial-objects"
	// Label is on every initial object.
	Label = "nestling.dev/initial-object"
	// ReasonFailed is that of an event about an object that the API does not take.
	ReasonFailed = "InitialObjectFailed"

	// firstPass is how long the tenant's start waits for all of them.
	firstPass = 5 * time.Second
	// requestTimeout bounds one request: a webhook of the tenant's may not answer.
	requestTimeout = 15 * time.Second
	// retryMin and retryMax are between two tries; also between two corrections of an
	// object that somebody keeps changing.
	retryMin, retryMax = 200 * time.Millisecond, time.Minute
)

// Options of a Keeper.
type Options struct {
	// Virtual connects to the tenant's API, as one who may do anything there.
	Virtual *rest.Config
	// Objects are those that Check has read.
	Objects []*unstructured.Unstructured
	// Recorder tells the tenant.
	Recorder record.EventRecorder
	// Metrics count the objects.
	Metrics *Metrics
}

// Keeper applies objects and keeps them.
type Keeper struct {
	options Options
	client  dynamic.Interface
	mapper  *restmapper.DeferredDiscoveryRESTMapper
	queue   workqueue.TypedRateLimitingInterface[int]
	watches *watches

	mu    sync.Mutex
	items []*item
}

// item is one object and what is known of it.
type item struct {
	want *unstructured.Unstructured
	// resource and namespace are where it was applied; unset before.
	resource  schema.GroupVersionResource
	namespace string
	// is is what the server made of it.
	is fingerprint
	// failure is what the server last said against it; empty: it is kept.
	failure string
	applied time.Time
}

// New is a Keeper. It starts nothing.
func New(options Options) (*Keeper, error) {
	client, err := dynamic.NewForConfig(options.Virtual)
	if err != nil {
		return nil, fmt.Errorf("client of initial objects: %w", err)
	}
	known, err := discovery.NewDiscoveryClientForConfig(options.Virtual)
	if err != nil {
		return nil, fmt.Errorf("client of initial objects: %w", err)
	}
	k := &Keeper{
		options: options, client: client,
		mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(known)),
		queue:  workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[int](retryMin, retryMax)),
	}
	k.watches = newWatches(client, k.changed)
	for _, object := range inOrder(options.Objects) {
		want := object.DeepCopy()
		labels := maps.Clone(want.GetLabels())
		if labels == nil {
			labels = map[string]string{}
		}
		labels[Label] = "true"
		want.SetLabels(labels)
		k.items = append(k.items, &item{want: want})
	}
	return k, nil
}

// Run keeps the objects until ctx ends. It is ready when each of them has been tried, or
// when that takes too long for somebody to wait.
func (k *Keeper) Run(ctx context.Context, ready func()) error {
	var working sync.WaitGroup
	defer k.watches.wait()
	defer working.Wait() // before: it starts watches
	defer k.queue.ShutDown()

	tried := make(chan struct{})
	working.Go(func() {
		for i := range k.items {
			k.do(ctx, i)
		}
		close(tried)
		for {
			i, shutdown := k.queue.Get()
			if shutdown {
				return
			}
			k.do(ctx, i)
			k.queue.Done(i)
		}
	})
	select {
	case <-tried:
	case <-time.After(firstPass):
		klog.FromContext(ctx).Info("Initial objects take long; the tenant goes on without those that are missing")
	case <-ctx.Done():
	}
	ready()
	<-ctx.Done()
	return nil
}

// do brings one object to what it should be, or has it tried again.
func (k *Keeper) do(ctx context.Context, i int) {
	if ctx.Err() != nil {
		return
	}
	err := k.apply(ctx, k.items[i])
	if err != nil && ctx.Err() != nil {
		return
	}
	k.note(ctx, i, err)
}

// apply asks the server to make it so. Where everything is as it should be, it writes nothing.
func (k *Keeper) apply(ctx context.Context, item *item) error {
	kind := item.want.GroupVersionKind()
	mapping, err := k.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		k.mapper.Reset() // its definition may have come since
		mapping, err = k.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	if err != nil {
		return err
	}
	namespace := ""
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		namespace = namespaceOf(item.want)
	} else if item.want.GetNamespace() != "" {
		return fmt.Errorf("metadata.namespace is %q, but a %s is of no namespace", item.want.GetNamespace(), kind.Kind)
	}
	k.mu.Lock()
	item.resource, item.namespace = mapping.Resource, namespace
	k.mu.Unlock()
	request, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	got, err := k.client.Resource(mapping.Resource).Namespace(namespace).Apply(request, item.want.GetName(), item.want,
		metav1.ApplyOptions{FieldManager: FieldManager, Force: true})
	if err != nil {
		return err
	}
	k.mu.Lock()
	item.is, item.applied = fingerprintOf(got), time.Now()
	k.mu.Unlock()
	k.watches.follow(ctx, mapping.Resource)
	return nil
}

// note remembers how a try ended, and tells whom it concerns, once.
func (k *Keeper) note(ctx context.Context, i int, err error) {
	k.mu.Lock()
	item := k.items[i]
	was := item.failure
	item.failure = ""
	if err != nil {
		item.failure = err.Error()
	}
	now := item.failure
	kept, failed := k.count()
	k.mu.Unlock()
	k.options.Metrics.set(kept, failed)
	if err == nil {
		if was != "" {
			klog.FromContext(ctx).Info("Initial object is there now", "kind", item.want.GetKind(), "namespace", item.namespace, "name", item.want.GetName())
			k.queue.Forget(i)
		}
		return
	}
	k.queue.AddRateLimited(i)
	if now == was {
		return
	}
	klog.FromContext(ctx).Error(err, "Initial object is not taken; it is tried again", "kind", item.want.GetKind(), "namespace", item.namespace, "name", item.want.GetName())
	k.options.Recorder.Event(&corev1.ObjectReference{
		APIVersion: item.want.GetAPIVersion(), Kind: item.want.GetKind(), Namespace: item.namespace, Name: item.want.GetName(),
	}, corev1.EventTypeWarning, ReasonFailed, "the object that this cluster's operator wants here is not taken: "+now)
}

// count is under the lock.
func (k *Keeper) count() (kept, failed int) {
	for _, item := range k.items {
		switch {
		case item.failure != "":
			failed++
		case !item.applied.IsZero():
			kept++
		}
	}
	return kept, failed
}

// changed hears of an object that has the label; gone says that it has it no more, or is no
// more. One that is as the server made it needs nothing.
func (k *Keeper) changed(resource schema.GroupVersionResource, object *unstructured.Unstructured, gone bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, item := range k.items {
		if item.resource != resource || item.namespace != object.GetNamespace() || item.want.GetName() != object.GetName() {
			continue
		}
		if !gone && item.is == fingerprintOf(object) {
			return
		}
		if time.Since(item.applied) > retryMax {
			k.queue.Forget(i) // whoever did it does not do it all the time
		}
		k.queue.AddRateLimited(i)
		return
	}
}
