package namespaces

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/namespace/deletion"
)

const (
	// beginning is upstream's: requests that were let in before the deletion have made
	// what they make.
	beginning = 5 * time.Second
	// workers is how many namespaces are worked on at once, as upstream has it.
	workers = 10
)

// Controller empties the namespaces of one cluster.
type Controller struct {
	informer cache.SharedIndexInformer
	lister   corelisters.NamespaceLister
	queue    workqueue.TypedRateLimitingInterface[string]
	deleter  deletion.NamespacedResourcesDeleterInterface
	podsLeft func(ctx context.Context, namespace string) (bool, error)
	now      func() time.Time

	mu     sync.Mutex
	pauses map[string]pause // by namespace; a key of the queue is worked on once at a time
}

// New makes a controller that asks the API with config, for what the resources are too.
func New(ctx context.Context, config *rest.Config) (*Controller, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // a pass is a hundred requests; the server, of the same process, sees to fairness
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	metadataClient, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("metadata client: %w", err)
	}
	deleter := deletion.NewNamespacedResourcesDeleter(ctx, client.CoreV1().Namespaces(), metadataClient, client.CoreV1(),
		client.Discovery().ServerPreferredNamespacedResources, corev1.FinalizerKubernetes)
	pods := metadataClient.Resource(corev1.SchemeGroupVersion.WithResource("pods"))
	return newController(client, deleter, func(ctx context.Context, namespace string) (bool, error) {
		list, err := pods.Namespace(namespace).List(ctx, metav1.ListOptions{Limit: 1})
		if err != nil {
			return false, fmt.Errorf("look for pods in namespace %s: %w", namespace, err)
		}
		return len(list.Items) > 0, nil
	})
}

func newController(client kubernetes.Interface, deleter deletion.NamespacedResourcesDeleterInterface, podsLeft func(context.Context, string) (bool, error)) (*Controller, error) {
	namespaces := informers.NewSharedInformerFactory(client, 0).Core().V1().Namespaces()
	c := &Controller{
		informer: namespaces.Informer(), lister: namespaces.Lister(),
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(workqueue.NewTypedItemExponentialFailureRateLimiter[string](firstPass, lastPass),
			workqueue.TypedRateLimitingQueueConfig[string]{Name: "namespace"}),
		deleter: deleter, podsLeft: podsLeft, now: time.Now, pauses: map[string]pause{},
	}
	changed := func(in any) {
		if namespace := in.(*corev1.Namespace); namespace.DeletionTimestamp != nil {
			c.queue.AddAfter(namespace.Name, time.Until(namespace.DeletionTimestamp.Add(beginning)))
		}
	}
	_, err := c.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: changed, UpdateFunc: func(_, in any) { changed(in) }})
	return c, err
}

// Run works until ctx ends, and everything that it has begun.
func (c *Controller) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { c.informer.RunWithContext(ctx) })
	defer c.queue.ShutDown()
	if !cache.WaitForCacheSync(ctx.Done(), c.informer.HasSynced) {
		return
	}
	for range workers {
		all.Go(func() { c.work(ctx) })
	}
	<-ctx.Done()
}

func (c *Controller) work(ctx context.Context) {
	for {
		name, shutdown := c.queue.Get()
		if shutdown {
			return
		}
		again, err := c.attempt(ctx, name)
		switch {
		case ctx.Err() != nil: // stopping
		case err != nil:
			c.queue.AddRateLimited(name)
			klog.FromContext(ctx).Error(err, "Deletion of a namespace failed and will be tried again", "namespace", name)
		case again > 0:
			c.queue.Forget(name)
			c.queue.AddAfter(name, again)
		default:
			c.queue.Forget(name)
		}
		c.queue.Done(name)
	}
}

// attempt looks at a namespace, and makes a pass if one is due. It returns after what time
// it wants to be called again; 0: it need not.
func (c *Controller) attempt(ctx context.Context, name string) (time.Duration, error) {
	if _, err := c.lister.Get(name); apierrors.IsNotFound(err) {
		c.forget(name)
		return 0, nil
	}
	pods, err := c.podsLeft(ctx, name)
	if err != nil {
		return 0, err
	}
	before := c.pauseOf(name)
	if rest := before.rest(pods, c.now()); rest > 0 {
		return rest, nil
	}
	err = c.deleter.Delete(ctx, name)
	if err == nil {
		c.forget(name)
		return 0, nil
	}
	pause := before.after(pods, c.now())
	c.mu.Lock()
	c.pauses[name] = pause
	c.mu.Unlock()
	// Once their grace is over, pods that are left are an error to upstream. They are none here.
	if remaining := new(deletion.ResourcesRemainingError); !pods && !errors.As(err, &remaining) {
		klog.FromContext(ctx).Error(err, "A namespace could not be emptied and will be tried again", "namespace", name)
	}
	return pause.rest(pods, c.now()), nil
}

func (c *Controller) pauseOf(name string) pause {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pauses[name]
}

func (c *Controller) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pauses, name)
}
