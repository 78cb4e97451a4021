package access

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"nestling.dev/nestling/pkg/config"
)

// watch follows what of the host leads to the API: nothing, where the configuration says it all.
type watch struct {
	changed  chan struct{} // holds one when something may differ
	services cache.Indexer
	nodes    cache.Indexer
	stop     func()
}

func (k *Keeper) watch(ctx context.Context) (*watch, error) {
	ctx, cancel := context.WithCancel(ctx)
	w := &watch{changed: make(chan struct{}, 1), stop: cancel}
	kind := k.opts.Exposure.Kind()
	if k.opts.FixedURL != "" || kind != config.ExposeLoadBalancer && kind != config.ExposeNodePort {
		return w, nil
	}
	services := informers.NewSharedInformerFactoryWithOptions(k.opts.Host, 0, informers.WithNamespace(k.opts.Names.Namespace),
		informers.WithTweakListOptions(func(options *metav1.ListOptions) {
			options.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, k.opts.Service).String()
		}))
	factories := []informers.SharedInformerFactory{services}
	followed := []cache.SharedIndexInformer{services.Core().V1().Services().Informer()}
	w.services = followed[0].GetIndexer()
	if kind == config.ExposeNodePort && k.opts.Exposure.Host == "" {
		nodes := informers.NewSharedInformerFactoryWithOptions(k.opts.Host, 0, informers.WithTransform(trimNode))
		factories = append(factories, nodes)
		followed = append(followed, nodes.Core().V1().Nodes().Informer())
		w.nodes = followed[1].GetIndexer()
	}
	nudge := func(any) {
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
	for _, informer := range followed {
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: nudge, UpdateFunc: func(_, now any) { nudge(now) }, DeleteFunc: nudge,
		}); err != nil {
			cancel()
			return nil, fmt.Errorf("follow the way to the API: %w", err)
		}
	}
	w.stop = func() {
		cancel()
		for _, factory := range factories {
			factory.Shutdown()
		}
	}
	for _, factory := range factories {
		factory.StartWithContext(ctx)
	}
	for _, informer := range followed {
		if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
			w.stop()
			return nil, context.Cause(ctx)
		}
	}
	return w, nil
}

// trimNode keeps what Locate reads.
func trimNode(object any) (any, error) {
	node, ok := object.(*corev1.Node)
	if !ok {
		return object, nil
	}
	out := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node.Name, UID: node.UID, ResourceVersion: node.ResourceVersion}}
	out.Status.Addresses = node.Status.Addresses
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			out.Status.Conditions = []corev1.NodeCondition{{Type: condition.Type, Status: condition.Status}}
		}
	}
	return out, nil
}

func (w *watch) surroundings() Surroundings {
	var out Surroundings
	if w.services != nil {
		for _, object := range w.services.List() { // of one name
			out.Service = object.(*corev1.Service)
		}
	}
	if w.nodes != nil {
		for _, object := range w.nodes.List() {
			out.Nodes = append(out.Nodes, object.(*corev1.Node))
		}
	}
	return out
}
