package dns

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coredns/coredns/plugin/kubernetes"
	"github.com/coredns/coredns/plugin/kubernetes/object"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	clientset "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// records are the caches that the kubernetes plugin answers from: of Services, EndpointSlices,
// Namespaces and, so that no pod is invented, Pods. Of each object they keep what a record
// needs, in CoreDNS's own trimmed types; a pod takes half a kilobyte.
//
// It stands in for CoreDNS's own controller, whose goroutines nobody waits for.
type records struct {
	services, slices, namespaces, pods cache.Indexer
	controllers                        []cache.Controller
	virtual                            clientset.Interface
	disconnect                         func()
	// changed is when, in seconds since 1970: the serial number of the zone.
	changed atomic.Int64
	// changedService is told of the NAME.NAMESPACE of every Service that changes, or whose
	// EndpointSlices do. Set before run.
	changedService func(index string)
}

// The names of the indexes.
const (
	byName = "name"
	byIP   = "ip"
)

func newRecords(config *rest.Config) (*records, error) {
	config = rest.CopyConfig(config)
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf
	transport, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("virtual client: %w", err)
	}
	virtual, err := clientset.NewForConfigAndClient(config, transport)
	if err != nil {
		return nil, fmt.Errorf("virtual client: %w", err)
	}
	r := &records{virtual: virtual, disconnect: transport.CloseIdleConnections, changedService: func(string) {}}
	r.changed.Store(time.Now().Unix())
	core, discovery := virtual.CoreV1().RESTClient(), virtual.DiscoveryV1().RESTClient()
	r.services = r.follow(core, "services", &corev1.Service{}, object.ToService, cache.Indexers{
		byName: func(o any) ([]string, error) { return []string{o.(*object.Service).Index}, nil },
		byIP:   func(o any) ([]string, error) { return o.(*object.Service).ClusterIPs, nil },
	}, fields.Everything())
	r.slices = r.follow(discovery, "endpointslices", &discoveryv1.EndpointSlice{}, object.EndpointSliceToEndpoints, cache.Indexers{
		byName: func(o any) ([]string, error) { return []string{o.(*object.Endpoints).Index}, nil },
		byIP:   func(o any) ([]string, error) { return o.(*object.Endpoints).IndexIP, nil },
	}, fields.Everything())
	r.namespaces = r.follow(core, "namespaces", &corev1.Namespace{}, object.ToNamespace, cache.Indexers{}, fields.Everything())
	r.pods = r.follow(core, "pods", &corev1.Pod{}, toPod, cache.Indexers{
		byIP: func(o any) ([]string, error) { return []string{o.(*pod).PodIP}, nil },
	}, fields.ParseSelectorOrDie("status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown"))
	return r, nil
}

// pod is CoreDNS's with what kubelet writes into a pod's /etc/hosts.
type pod struct {
	*object.Pod
	// own is HOSTNAME.SUBDOMAIN, empty where the pod has none of its own.
	own string
}

// toPod drops the labels, which only plugins read that we do not have.
func toPod(o metav1.Object) (metav1.Object, error) {
	out := &pod{}
	// A pod in the network of its node has the node's /etc/hosts. ToPod empties the spec.
	if full, ok := o.(*corev1.Pod); ok && full.Spec.Subdomain != "" && !full.Spec.HostNetwork {
		hostname := full.Spec.Hostname
		if hostname == "" {
			hostname = full.Name
		}
		out.own = strings.ToLower(hostname + "." + full.Spec.Subdomain)
	}
	trimmed, err := object.ToPod(o)
	if err != nil {
		return nil, err
	}
	typed, ok := trimmed.(*object.Pod)
	if !ok {
		return nil, fmt.Errorf("unexpected object %T", trimmed)
	}
	typed.Labels = nil
	out.Pod = typed
	return out, nil
}

// follow makes a cache, which run fills.
func (r *records) follow(from rest.Interface, resource string, kind runtime.Object, trim object.ToFunc, indexers cache.Indexers, selector fields.Selector) cache.Indexer {
	source := cache.NewListWatchFromClient(from, resource, metav1.NamespaceAll, selector)
	indexer, controller := object.NewIndexerInformer(source, kind, cache.ResourceEventHandlerFuncs{
		AddFunc:    r.note,
		UpdateFunc: func(_, now any) { r.note(now) },
		DeleteFunc: r.note,
	}, indexers, object.DefaultProcessor(trim, nil))
	r.controllers = append(r.controllers, controller)
	return indexer
}

// note takes notice of a change.
func (r *records) note(of any) {
	r.changed.Store(time.Now().Unix())
	if lost, ok := of.(cache.DeletedFinalStateUnknown); ok {
		of = lost.Obj
	}
	switch object := of.(type) {
	case *object.Service:
		r.changedService(object.Index)
	case *object.Endpoints:
		r.changedService(object.Index)
	}
}

// run fills the caches and keeps them so until ctx ends and all that was started has ended.
func (r *records) run(ctx context.Context) {
	var group sync.WaitGroup
	for _, controller := range r.controllers {
		group.Go(func() { controller.RunWithContext(ctx) })
	}
	group.Wait()
	r.disconnect()
}

// HasSynced says whether all caches have been filled.
func (r *records) HasSynced() bool {
	for _, controller := range r.controllers {
		if !controller.HasSynced() {
			return false
		}
	}
	return true
}

// find is what an index has for a key.
func find[T any](in cache.Indexer, index, key string) []T {
	found, err := in.ByIndex(index, key)
	if err != nil {
		return nil // no such index: of a cache without any
	}
	out := make([]T, 0, len(found))
	for _, o := range found {
		if typed, ok := o.(T); ok {
			out = append(out, typed)
		}
	}
	return out
}

// all is the whole content of a cache.
func all[T any](in cache.Indexer) []T {
	var out []T
	for _, o := range in.List() {
		if typed, ok := o.(T); ok {
			out = append(out, typed)
		}
	}
	return out
}

// owns says whether the pod with an address has a name for its own: HOSTNAME.SUBDOMAIN of
// its namespace.
func (r *records) owns(ip, own, namespace string) bool {
	return slices.ContainsFunc(find[*pod](r.pods, byIP, ip), func(p *pod) bool {
		return p.own == own && p.Namespace == namespace
	})
}

// What follows is what the plugin asks; the methods are those of its controller.

func (r *records) SvcIndex(name string) []*object.Service {
	return find[*object.Service](r.services, byName, name)
}

func (r *records) SvcIndexReverse(ip string) []*object.Service {
	return find[*object.Service](r.services, byIP, ip)
}

func (r *records) EpIndex(name string) []*object.Endpoints {
	return find[*object.Endpoints](r.slices, byName, name)
}

func (r *records) EpIndexReverse(ip string) []*object.Endpoints {
	return find[*object.Endpoints](r.slices, byIP, ip)
}

func (r *records) PodIndex(ip string) []*object.Pod {
	var out []*object.Pod
	for _, pod := range find[*pod](r.pods, byIP, ip) {
		out = append(out, pod.Pod)
	}
	return out
}

func (r *records) ServiceList() []*object.Service { return all[*object.Service](r.services) }
func (r *records) EndpointsList() []*object.Endpoints {
	return all[*object.Endpoints](r.slices)
}

func (r *records) GetNamespaceByName(name string) (*object.Namespace, error) {
	found, exists, err := r.namespaces.GetByKey(name)
	if err != nil {
		return nil, err
	}
	namespace, ok := found.(*object.Namespace)
	if !exists || !ok {
		return nil, fmt.Errorf("namespace %s does not exist", name)
	}
	return namespace, nil
}

// GetNodeByName is asked by plugins that we do not have.
func (r *records) GetNodeByName(ctx context.Context, name string) (*corev1.Node, error) {
	return r.virtual.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
}

// Modified is the serial number of the zone.
func (r *records) Modified(kubernetes.ModifiedMode) int64 { return r.changed.Load() }

// Services of several clusters, and addresses outside of this one, are not served.

func (r *records) SvcExtIndexReverse(string) []*object.Service      { return nil }
func (r *records) SvcImportIndex(string) []*object.ServiceImport    { return nil }
func (r *records) ServiceImportList() []*object.ServiceImport       { return nil }
func (r *records) McEpIndex(string) []*object.MultiClusterEndpoints { return nil }

// Run and Stop are the component's business.

func (r *records) Run()        {}
func (r *records) Stop() error { return nil }
