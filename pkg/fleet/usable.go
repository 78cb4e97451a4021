package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"nestling.dev/nestling/pkg/deploy"
)

// awaitUsable follows the control plane until it is ready. The pod's readiness stands for all that a tenant needs: the
// API answers, the syncer has synced, and namespace default has its ServiceAccount.
func (f *Fleet) awaitUsable(ctx context.Context, n deploy.Names, set *appsv1.StatefulSet, p *progress) ([]byte, error) {
	watching, stop := context.WithCancel(ctx)
	follower := f.follow(n, set, p.begin)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	follower.run(watching, &running)
	for {
		last := finding{text: "waiting for the host"}
		select {
		case err := <-follower.failed:
			return nil, err
		case <-follower.changed:
		case <-ctx.Done():
			return nil, f.gaveUp(ctx, follower, n)
		}
		if !follower.synced() {
			continue
		}
		v := follower.view()
		last = diagnose(v)
		switch {
		case last.state == Ready:
			p.step("ready")
			return v.kubeconfig, nil
		case last.hopeless:
			return nil, last.failure(n)
		case last.advice != "":
			p.warn("%s (%s)", last.text, last.advice)
		default:
			p.step("%s", last.text)
		}
	}
}

// failure is the finding as an error.
func (f finding) failure(n deploy.Names) error {
	if f.advice != "" {
		return fmt.Errorf("tenant %q in namespace %q: %s (%s)", n.Tenant, n.Namespace, f.text, f.advice)
	}
	return fmt.Errorf("tenant %q in namespace %q: %s", n.Tenant, n.Namespace, f.text)
}

// gaveUp says what we waited for.
func (f *Fleet) gaveUp(ctx context.Context, follower *follower, n deploy.Names) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("interrupted; tenant %q stays as it is: nestling create goes on with it, nestling delete removes it", n.Tenant)
	}
	last := diagnose(follower.view())
	return fmt.Errorf("tenant %q in namespace %q is not usable in time: %w", n.Tenant, n.Namespace,
		errors.New(last.text+adviceOf(last)))
}

func adviceOf(f finding) string {
	if f.advice == "" {
		return ""
	}
	return " (" + f.advice + ")"
}

// follower watches a control plane. It is not stored anywhere: it lives as long as one wait.
type follower struct {
	names    deploy.Names
	set      *appsv1.StatefulSet
	since    time.Time
	sets     cache.SharedInformer
	pods     cache.SharedInformer
	secrets  cache.SharedInformer
	events   cache.SharedInformer
	required []cache.SharedInformer
	changed  chan struct{}
	failed   chan error
}

func (f *Fleet) follow(n deploy.Names, set *appsv1.StatefulSet, since time.Time) *follower {
	out := &follower{names: n, set: set, since: since, changed: make(chan struct{}, 1), failed: make(chan error, 1)}
	core, apps := f.host.CoreV1().RESTClient(), f.host.AppsV1().RESTClient()
	out.sets = f.informer(apps, "statefulsets", n.Namespace, &appsv1.StatefulSet{}, fieldIs("metadata.name", n.Tenant), "", out, true)
	out.pods = f.informer(core, "pods", n.Namespace, &corev1.Pod{}, "", deploy.ControlPlaneLabel+"="+n.Tenant, out, true)
	out.secrets = f.informer(core, "secrets", n.Namespace, &corev1.Secret{}, fieldIs("metadata.name", n.Kubeconfig()), "", out, true)
	// Events explain; without the right to see them there is less to tell.
	out.events = f.informer(core, "events", n.Namespace, &corev1.Event{}, fieldIs("involvedObject.name", n.Tenant), "", out, false)
	out.required = []cache.SharedInformer{out.sets, out.pods, out.secrets}
	return out
}

func fieldIs(field, value string) string { return fields.OneTermEqualSelector(field, value).String() }

// informer pokes the follower at every change.
func (f *Fleet) informer(client rest.Interface, resource, namespace string, object runtime.Object, field, label string, follower *follower, required bool) cache.SharedInformer {
	source := cache.NewFilteredListWatchFromClient(client, resource, namespace, func(options *metav1.ListOptions) {
		options.FieldSelector, options.LabelSelector = field, label
	})
	informer := cache.NewSharedInformer(source, object, 0)
	poke := func(any) {
		select {
		case follower.changed <- struct{}{}:
		default:
		}
	}
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: poke, UpdateFunc: func(_, object any) { poke(object) }, DeleteFunc: poke,
	}) // fails only on one that was stopped
	_ = informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		if required && (apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err)) {
			select {
			case follower.failed <- f.failed(fmt.Sprintf("watch %s in namespace %q", resource, namespace), err):
			default:
			}
		}
	}) // likewise
	return informer
}

// run starts the informers, which end with ctx.
func (w *follower) run(ctx context.Context, running *sync.WaitGroup) {
	for _, informer := range append(w.required, w.events) {
		running.Go(func() { informer.RunWithContext(ctx) })
	}
	running.Go(func() { // an empty list changes nothing, and is news nevertheless
		for _, informer := range w.required {
			if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
				return
			}
		}
		select {
		case w.changed <- struct{}{}:
		case <-ctx.Done():
		}
	})
}

func (w *follower) synced() bool {
	for _, informer := range w.required {
		if !informer.HasSynced() {
			return false
		}
	}
	return true
}

// view is what the caches hold. The anchor was there a moment ago.
func (w *follower) view() view {
	v := view{names: w.names, anchor: &corev1.ConfigMap{}}
	for _, object := range w.sets.GetStore().List() {
		v.set = object.(*appsv1.StatefulSet)
	}
	if !w.sets.HasSynced() || v.set != nil && v.set.UID == w.set.UID && v.set.Generation < w.set.Generation {
		v.set = w.set // the cache is behind
	}
	for _, object := range w.pods.GetStore().List() {
		v.pod = object.(*corev1.Pod)
	}
	for _, object := range w.secrets.GetStore().List() {
		v.kubeconfig = object.(*corev1.Secret).Data[deploy.KubeconfigKey]
	}
	for _, object := range w.events.GetStore().List() {
		// Of an earlier try there may be events that are no longer true; they have a precision of a second.
		if event := object.(*corev1.Event); !when(*event).Before(w.since.Truncate(time.Second)) && w.about(event.InvolvedObject.UID, v) {
			v.events = append(v.events, *event)
		}
	}
	return v
}

func (w *follower) about(uid types.UID, v view) bool {
	return uid == w.set.UID || v.pod != nil && uid == v.pod.UID
}
