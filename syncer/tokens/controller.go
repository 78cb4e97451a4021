package tokens

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
	"nestling.dev/nestling/syncer/work"
)

const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = time.Minute
	// dropDelay is how long the Secret of a pod outlives it.
	dropDelay = 5 * time.Second
)

// Options of a Controller. Clients, informers and Env are required.
type Options struct {
	Virtual, Host kubernetes.Interface
	Pods          cache.SharedIndexInformer // of the virtual cluster; run by the caller
	HostSecrets   cache.SharedIndexInformer // of this tenant; run by the caller
	Env           func() resource.Env
	// RotateAt is the fraction of its life at which a token is renewed; 0 is 0.8.
	RotateAt float64
	Workers  int                  // 0 is 16
	Recorder record.EventRecorder // nil: pods are told nothing
	// Failed is told that the host does not take a pod's tokens. Nil: nobody is.
	Failed  func(ctx context.Context, pod *corev1.Pod, err error)
	Metrics *Metrics         // nil: not measured
	Clock   clock.WithTicker // nil: the real one
}

// Controller keeps the tokens of every virtual pod in host Secrets.
type Controller struct {
	options Options
	queue   work.Queue
	written *written
	retry   chan struct{}
}

// New makes a controller and connects nothing yet. It can Run once.
func New(options Options) *Controller {
	if options.RotateAt == 0 {
		options.RotateAt = 0.8
	}
	if options.Workers == 0 {
		options.Workers = 16
	}
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	if options.Recorder == nil {
		options.Recorder = &record.FakeRecorder{}
	}
	if options.Metrics == nil {
		options.Metrics = NewMetrics(nil)
	}
	return &Controller{options: options, written: newWritten(), retry: make(chan struct{}, 1)}
}

// Run keeps tokens until ctx ends and all its goroutines have ended. It writes nothing
// before both informers have been filled.
func (c *Controller) Run(ctx context.Context) error {
	c.queue = workqueue.NewTypedRateLimitingQueueWithConfig(
		workqueue.NewTypedItemExponentialFailureRateLimiter[resource.Key](firstRetry, lastRetry),
		workqueue.TypedRateLimitingQueueConfig[resource.Key]{Clock: c.options.Clock})
	defer c.queue.ShutDown()

	pods, err := c.options.Pods.AddEventHandler(handler(c.podChanged, c.podGone))
	if err != nil {
		return fmt.Errorf("watch virtual pods: %w", err)
	}
	defer c.stopHandling(ctx, c.options.Pods, pods)
	secrets, err := c.options.HostSecrets.AddEventHandler(handler(c.secretChanged, c.secretChanged))
	if err != nil {
		return fmt.Errorf("watch host secrets: %w", err)
	}
	defer c.stopHandling(ctx, c.options.HostSecrets, secrets)
	if !cache.WaitForCacheSync(ctx.Done(), pods.HasSynced, secrets.HasSynced) {
		return nil
	}
	var workers sync.WaitGroup
	for range c.options.Workers {
		workers.Go(func() { c.loop().Run(ctx) })
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-c.retry:
			c.retryAll()
		}
	}
	c.queue.ShutDown()
	workers.Wait()
	return nil
}

func (c *Controller) stopHandling(ctx context.Context, informer cache.SharedIndexInformer, handler cache.ResourceEventHandlerRegistration) {
	if err := informer.RemoveEventHandler(handler); err != nil {
		klog.FromContext(ctx).Error(err, "Informer handler could not be removed")
	}
}

// handler calls changed for whatever becomes of an object of type T, and gone for its end.
func handler[T any](changed, gone func(T)) cache.ResourceEventHandler {
	calling := func(with func(T)) func(any) {
		return func(in any) {
			if tombstone, ok := in.(cache.DeletedFinalStateUnknown); ok {
				in = tombstone.Obj
			}
			if object, ok := in.(T); ok {
				with(object)
			}
		}
	}
	change := calling(changed)
	return cache.ResourceEventHandlerFuncs{
		AddFunc: change, UpdateFunc: func(_, in any) { change(in) }, DeleteFunc: calling(gone),
	}
}

func (c *Controller) podChanged(pod *corev1.Pod) {
	if len(resources.Tokens(pod)) > 0 {
		c.queue.Add(resource.KeyOf(pod))
	}
}

// podGone leaves the Secret for a while: the tokens in it are revoked with the pod, and
// who ends hundreds of pods at once waits for the pods.
func (c *Controller) podGone(pod *corev1.Pod) {
	if len(resources.Tokens(pod)) > 0 {
		c.queue.AddAfter(resource.KeyOf(pod), dropDelay)
	}
}

func (c *Controller) secretChanged(secret *corev1.Secret) {
	if key, ok := resource.VirtualKey(secret); ok && resource.IsOurs(c.options.Env(), resources.TokensKind, secret) {
		c.queue.Add(key)
	}
}

// Retry asks for another look at every pod, soon and whatever its back-off: the host was
// away and is back, and pods wait for their tokens.
func (c *Controller) Retry() {
	select {
	case c.retry <- struct{}{}:
	default: // one is asked for already
	}
}

func (c *Controller) retryAll() {
	for _, item := range c.options.Pods.GetStore().List() {
		if pod, ok := item.(*corev1.Pod); ok {
			c.queue.Forget(resource.KeyOf(pod))
			c.podChanged(pod)
		}
	}
}

// loop works the queue.
func (c *Controller) loop() work.Loop {
	return work.Loop{
		Queue:   c.queue,
		Attempt: c.sync,
		Failed: func(ctx context.Context, key resource.Key, err error) {
			if !work.IsOutcome(err) {
				klog.FromContext(ctx).Error(err, "Tokens of a pod could not be kept and will be tried again", "namespace", key.Namespace, "pod", key.Name)
			}
		},
	}
}
