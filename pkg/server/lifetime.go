package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"nestling.dev/nestling/pkg/access"
	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/pkg/hostclient"
)

const (
	// lifetimeInterval is how often the time is looked at, at least: a clock may be set.
	lifetimeInterval = time.Minute
	// removalInterval is how long after a failure the removal is tried again.
	removalInterval = 5 * time.Second
)

// lifetimeOf reads the annotations of an anchor. One that cannot be read is no limit: a mistake must never delete.
func lifetimeOf(annotations map[string]string) (deploy.Lifetime, error) {
	var out deploy.Lifetime
	var errs []error
	if text := annotations[deploy.ExpiresAtAnnotation]; text != "" {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %q is not a time such as 2026-01-31T12:00:00Z", deploy.ExpiresAtAnnotation, text))
		}
		out.ExpiresAt = at
	}
	if text := annotations[deploy.IdleTTLAnnotation]; text != "" {
		idle, err := time.ParseDuration(text)
		if err != nil || idle < time.Second {
			errs = append(errs, fmt.Errorf("%s: %q is not a duration of a second or more, such as 10m", deploy.IdleTTLAnnotation, text))
			idle = 0
		}
		out.IdleTTL = idle
	}
	return out, errors.Join(errs...)
}

// ending is when a tenant ends, if nothing changes, and why.
type ending struct {
	at   time.Time
	idle bool
}

// endOf is the earlier of the two; false is never.
func endOf(l deploy.Lifetime, used time.Time) (ending, bool) {
	end, limited := ending{at: l.ExpiresAt}, !l.ExpiresAt.IsZero()
	if unused := used.Add(l.IdleTTL); l.IdleTTL > 0 && (!limited || unused.Before(end.at)) {
		end, limited = ending{at: unused, idle: true}, true
	}
	return end, limited
}

// lifetime ends the tenant when its time is over, by deleting the anchor that owns everything of it.
type lifetime struct {
	host    kubernetes.Interface
	names   deploy.Names
	service string    // in front of the tenant's API: what the anchor owns, if it owns the tenant
	anchor  types.UID // of the one that this process has started with
	clock   clock.Clock
	// used is when the tenant's API was used last.
	used func() time.Time
	// hostNow is the host's clock.
	hostNow func(ctx context.Context) (time.Time, error)
	// tell takes when the tenant ends, if nothing changes; the zero time: never. Nil: nobody does.
	tell func(time.Time)
	// withdraw removes what the tenant has in other namespaces.
	withdraw func(ctx context.Context) error

	told string // what was logged last, to log it once
}

func (s *server) runLifetime(ctx context.Context, ready func()) error {
	l := &lifetime{
		host: s.host, names: s.names, service: s.config.Host.Service, anchor: s.owner.UID, clock: clock.RealClock{},
		used:     s.activity.Last,
		hostNow:  func(ctx context.Context) (time.Time, error) { return hostclient.Now(ctx, s.hostConfig) },
		tell:     s.metrics.TenantExpires,
		withdraw: func(ctx context.Context) error { return access.Withdraw(ctx, s.host, s.names, s.config.Kubeconfigs) },
	}
	ready()
	l.run(ctx)
	return nil
}

// run follows the anchor until ctx ends.
func (l *lifetime) run(ctx context.Context) {
	changed := make(chan struct{}, 1)
	poke := func(any) {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	one := fields.OneTermEqualSelector("metadata.name", l.names.Anchor()).String()
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.FieldSelector = one
			return l.host.CoreV1().ConfigMaps(l.names.Namespace).List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.FieldSelector = one
			return l.host.CoreV1().ConfigMaps(l.names.Namespace).Watch(ctx, options)
		},
	}
	anchors := cache.NewSharedInformer(source, &corev1.ConfigMap{}, 0)
	_, _ = anchors.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: poke, UpdateFunc: func(_, object any) { poke(object) }, DeleteFunc: poke,
	}) // fails only on one that was stopped
	following := make(chan struct{})
	go func() { defer close(following); anchors.RunWithContext(ctx) }()
	defer func() { <-following }()
	for {
		wait := lifetimeInterval
		if object, ok, _ := anchors.GetStore().GetByKey(l.names.Namespace + "/" + l.names.Anchor()); ok {
			wait = l.step(ctx, object.(*corev1.ConfigMap))
		}
		timer := l.clock.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-changed:
		case <-timer.C():
		}
		timer.Stop()
	}
}

// step does what the anchor asks for by now, and returns how long until the next look.
func (l *lifetime) step(ctx context.Context, anchor *corev1.ConfigMap) time.Duration {
	logger := klog.FromContext(ctx)
	if anchor.UID != l.anchor || anchor.DeletionTimestamp != nil {
		return lifetimeInterval
	}
	if anchor.Annotations[deploy.ExpiredAnnotation] != "" { // an earlier start has decided
		return l.finish(ctx)
	}
	limits, err := lifetimeOf(anchor.Annotations)
	if err != nil {
		l.once("bad "+err.Error(), func() { logger.Error(err, "The anchor's annotation is ignored", "anchor", anchor.Name) })
	} else {
		l.once(fmt.Sprint(limits), func() {
			if limits.Limited() {
				logger.Info("The tenant removes itself", "expiresAt", anchor.Annotations[deploy.ExpiresAtAnnotation], "idleTTL", anchor.Annotations[deploy.IdleTTLAnnotation])
			}
		})
	}
	end, limited := endOf(limits, l.used())
	if l.tell != nil {
		l.tell(end.at)
	}
	if !limited {
		return lifetimeInterval
	}
	if left := end.at.Sub(l.clock.Now()); left > 0 {
		return min(left, lifetimeInterval)
	}
	return l.end(ctx, anchor, end)
}

// end removes the tenant if a second clock agrees, the anchor owns it, and nobody has renewed it meanwhile.
func (l *lifetime) end(ctx context.Context, anchor *corev1.ConfigMap, end ending) time.Duration {
	logger := klog.FromContext(ctx)
	if !end.idle { // idle time is measured, not read from a clock
		now, err := l.hostNow(ctx)
		if err != nil {
			return removalInterval // the host is away; nothing could be removed now
		}
		if left := end.at.Sub(now); left > 0 {
			l.once("clock", func() {
				logger.Info("The time is over by this node's clock, but not by the host's", "expiresAt", end.at, "left", left)
			})
			return min(max(left, time.Second), lifetimeInterval)
		}
	}
	service, err := l.host.CoreV1().Services(l.names.Namespace).Get(ctx, l.service, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return removalInterval
	}
	if err == nil && !owns(service, anchor.UID) {
		l.once("owner", func() {
			logger.Info("The time is over, but the anchor does not own the tenant, so deleting it would leave a part: `nestling create` makes it the owner", "anchor", anchor.Name)
		})
		return lifetimeInterval
	}
	// The decision is written down first, and fails if the anchor was changed since: renewed, perhaps.
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": anchor.UID, "resourceVersion": anchor.ResourceVersion,
		"annotations": map[string]string{deploy.ExpiredAnnotation: l.clock.Now().UTC().Format(time.RFC3339)},
	}})
	if err != nil {
		return removalInterval
	}
	_, err = l.host.CoreV1().ConfigMaps(l.names.Namespace).Patch(ctx, anchor.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		if !apierrors.IsConflict(err) {
			logger.Error(err, "The time is over, but that cannot be written to the anchor; trying again", "anchor", anchor.Name)
		}
		return removalInterval // or as soon as the change arrives
	}
	logger.Info("The tenant's time is over; it removes itself", "idle", end.idle, "since", end.at.UTC().Format(time.RFC3339))
	return l.finish(ctx)
}

// owns says whether the anchor owns an object of the manifests.
func owns(object metav1.Object, anchor types.UID) bool {
	for _, owner := range object.GetOwnerReferences() {
		if owner.UID == anchor {
			return true
		}
	}
	return false
}

// finish deletes what the anchor cannot own, and then the anchor.
func (l *lifetime) finish(ctx context.Context) time.Duration {
	logger := klog.FromContext(ctx)
	if err := l.withdraw(ctx); err != nil {
		logger.Error(err, "The kubeconfigs in other namespaces are not removed yet; trying again")
		return removalInterval
	}
	// Its ClusterRole goes with it. Who was installed without has no right to look, and need not.
	binding := l.names.ClusterRole()
	err := l.host.RbacV1().ClusterRoleBindings().Delete(ctx, binding, metav1.DeleteOptions{})
	switch {
	case err == nil, apierrors.IsNotFound(err):
	case apierrors.IsForbidden(err):
		logger.V(1).Info("The ClusterRoleBinding cannot be removed, if there is one", "clusterRoleBinding", binding)
	default:
		logger.Error(err, "The ClusterRoleBinding is not removed yet; trying again", "clusterRoleBinding", binding)
		return removalInterval
	}
	background := metav1.DeletePropagationBackground
	err = l.host.CoreV1().ConfigMaps(l.names.Namespace).Delete(ctx, l.names.Anchor(), metav1.DeleteOptions{
		PropagationPolicy: &background, Preconditions: &metav1.Preconditions{UID: &l.anchor},
	})
	if err != nil && !apierrors.IsNotFound(err) {
		logger.Error(err, "The anchor is not removed yet; trying again", "anchor", l.names.Anchor())
		return removalInterval
	}
	return lifetimeInterval // the host ends this process soon
}

func (l *lifetime) once(what string, tell func()) {
	if l.told != what {
		l.told = what
		tell()
	}
}
