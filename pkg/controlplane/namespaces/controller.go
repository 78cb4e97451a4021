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
	// beginning is when the first pass comes, after a deletion was seen. It is upstream's:
	// until then, requests that were let in before the deletion have made what they make.
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
	pods     pods
	now      func() time.Time

	mu      sync.Mutex
	endings map[string]ending // by namespace; a key of the queue is worked on once at a time
}

// pods of namespaces.
type pods interface {
	// Left reports whether there are any.
	Left(ctx context.Context, namespace string) (bool, error)
	// Delete tells all of them to end.
	Delete(ctx context.Context, namespace string) error
}

// ending is what is known of a namespace that is being deleted.
type ending struct {
	seen  time.Time // when it was seen to be
	pause pause
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
	return newController(client, deleter, podMetadata{metadataClient.Resource(corev1.SchemeGroupVersion.WithResource("pods"))})
}

// podMetadata are pods by their metadata alone.
type podMetadata struct{ client metadata.Getter }

func (p podMetadata) Left(ctx context.Context, namespace string) (bool, error) {
	list, err := p.client.Namespace(namespace).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return false, fmt.Errorf("look for pods: %w", err)
	}
	return len(list.Items) > 0, nil
}

func (p podMetadata) Delete(ctx context.Context, namespace string) error {
	background := metav1.DeletePropagationBackground
	return p.client.Namespace(namespace).DeleteCollection(ctx, metav1.DeleteOptions{PropagationPolicy: &background}, metav1.ListOptions{})
}

func newController(client kubernetes.Interface, deleter deletion.NamespacedResourcesDeleterInterface, pods pods) (*Controller, error) {
	namespaces := informers.NewSharedInformerFactory(client, 0).Core().V1().Namespaces()
	c := &Controller{
		informer: namespaces.Informer(), lister: namespaces.Lister(),
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(workqueue.NewTypedItemExponentialFailureRateLimiter[string](firstPass, lastPass),
			workqueue.TypedRateLimitingQueueConfig[string]{Name: "namespace"}),
		deleter: deleter, pods: pods, now: time.Now, endings: map[string]ending{},
	}
	changed := func(in any) {
		if namespace := in.(*corev1.Namespace); namespace.DeletionTimestamp != nil {
			c.queue.Add(namespace.Name)
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
	namespace, err := c.lister.Get(name)
	if apierrors.IsNotFound(err) || err == nil && (namespace.DeletionTimestamp == nil || len(namespace.Spec.Finalizers) == 0) {
		c.forget(name)
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	known, again := c.ending(name)
	if !again {
		// Pods take the longest, and this API server lets no new ones in any more: they need
		// not wait for the first pass. If this fails, that pass will tell.
		if err := c.pods.Delete(ctx, name); err != nil {
			klog.FromContext(ctx).V(2).Info("Pods of a deleted namespace are left to the first pass", "namespace", name, "err", err)
		}
	}
	if rest := known.seen.Add(beginning).Sub(c.now()); rest > 0 {
		return rest, nil
	}
	left, err := c.pods.Left(ctx, name)
	if err != nil {
		return 0, err
	}
	if rest := known.pause.rest(left, c.now()); rest > 0 {
		return rest, nil
	}
	err = c.deleter.Delete(ctx, name)
	if err == nil {
		c.forget(name)
		return 0, nil
	}
	known.pause = known.pause.after(left, c.now())
	c.mu.Lock()
	c.endings[name] = known
	c.mu.Unlock()
	// Once their grace is over, pods that are left are an error to upstream. They are none here.
	if remaining := new(deletion.ResourcesRemainingError); !left && !errors.As(err, &remaining) {
		klog.FromContext(ctx).Error(err, "A namespace could not be emptied and will be tried again", "namespace", name)
	}
	return known.pause.rest(left, c.now()), nil
}

// ending is what is known of a namespace, which is more than this moment if again is true.
func (c *Controller) ending(name string) (known ending, again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, again = c.endings[name]; !again {
		known = ending{seen: c.now()}
		c.endings[name] = known
	}
	return known, again
}

func (c *Controller) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.endings, name)
}
