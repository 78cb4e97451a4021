package cloud

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

const (
	// Class is the IngressClass that is served.
	Class = "public"
	// controller is what the class says that serves it.
	controller = "nestling.dev/e2e-ingress"
	// IngressAddress is told to be that of the Ingresses. It and those of load balancers are
	// of the range TEST-NET-2, for documentation (RFC 5737).
	IngressAddress      = "198.51.100.1"
	loadBalancerAddress = "198.51.100.%d"
)

// Cloud is a running platform.
type Cloud struct {
	host     kubernetes.Interface
	backends bool
	services cache.Indexer
	ingress  cache.Indexer
	queue    workqueue.TypedRateLimitingInterface[work]
	// HTTP and HTTPS are where Ingresses are served: addresses of the machine's own.
	HTTP, HTTPS string

	mu       sync.Mutex
	assigned map[string]int // by host Service, the last byte of its address
	next     int
}

// work is an object to look at.
type work struct {
	kind, namespace, name string
}

// Start runs a platform until stop is called. Where nothing stands behind Services, as on
// a simulated host, backends are answered for with 503 and not dialled: their addresses
// may be somebody else's on this machine.
func Start(ctx context.Context, config *rest.Config, backends bool) (cloud *Cloud, stop func(), err error) {
	host, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("cloud: %w", err)
	}
	c := &Cloud{
		backends: backends,
		host:     host, assigned: map[string]int{}, next: 10,
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[work](20*time.Millisecond, 5*time.Second)),
	}
	_, err = host.NetworkingV1().IngressClasses().Create(ctx, &networkingv1.IngressClass{
		ObjectMeta: metav1.ObjectMeta{Name: Class}, Spec: networkingv1.IngressClassSpec{Controller: controller},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, nil, fmt.Errorf("cloud: %w", err)
	}

	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var goroutines sync.WaitGroup
	var closers []func()
	stop = func() {
		cancel()
		c.queue.ShutDown()
		for _, closer := range closers {
			closer()
		}
		goroutines.Wait()
	}
	factory := informers.NewSharedInformerFactory(host, 0)
	for kind, informer := range map[string]cache.SharedIndexInformer{
		kindService: factory.Core().V1().Services().Informer(), kindIngress: factory.Networking().V1().Ingresses().Informer(),
	} {
		if _, err := informer.AddEventHandler(c.enqueue(kind)); err != nil {
			stop()
			return nil, nil, fmt.Errorf("cloud: %w", err)
		}
	}
	c.services = factory.Core().V1().Services().Informer().GetIndexer()
	c.ingress = factory.Networking().V1().Ingresses().Informer().GetIndexer()
	factory.Start(running.Done())
	closers = append(closers, factory.Shutdown)
	factory.WaitForCacheSync(ctx.Done())

	for _, secure := range []bool{false, true} {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			stop()
			return nil, nil, fmt.Errorf("cloud: %w", err)
		}
		server := &http.Server{Handler: http.HandlerFunc(c.serve), ReadHeaderTimeout: time.Minute}
		if secure {
			c.HTTPS = listener.Addr().String()
			listener = tls.NewListener(c.split(running, listener), &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.certificate})
		} else {
			c.HTTP = listener.Addr().String()
		}
		goroutines.Go(func() { _ = server.Serve(listener) })
		closers = append(closers, func() { _ = server.Close() })
	}
	goroutines.Go(func() { c.work(running) })
	return c, stop, nil
}

func (c *Cloud) enqueue(kind string) cache.ResourceEventHandlerFuncs {
	add := func(object any) {
		if key, err := cache.DeletionHandlingObjectToName(object); err == nil {
			c.queue.Add(work{kind: kind, namespace: key.Namespace, name: key.Name})
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, object any) { add(object) }, DeleteFunc: add}
}

func (c *Cloud) work(ctx context.Context) {
	for {
		item, shutdown := c.queue.Get()
		if shutdown {
			return
		}
		err := c.reconcile(ctx, item)
		c.queue.Done(item)
		if err != nil && ctx.Err() == nil {
			c.queue.AddRateLimited(item)
			continue
		}
		c.queue.Forget(item)
	}
}
