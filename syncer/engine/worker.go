package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"nestling.dev/nestling/syncer/plan"
	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/work"
)

const (
	// foreignRetry is how soon a host name that somebody else holds is tried again:
	// the engine's caches don't see that object, so nothing tells when it goes.
	foreignRetry = 30 * time.Second
	// settling is how long a new host object may be ahead of the one that it belongs to:
	// the two come through different watches.
	settling = 10 * time.Second
)

// errStale says that a cache is behind what a write met; the object is looked at again.
var errStale = errors.New("cache is behind")

// loop works a kind's queue.
func (e *Engine) loop(kind *syncedKind) work.Loop {
	return work.Loop{
		Queue: kind.queue,
		Attempt: func(ctx context.Context, key resource.Key) (time.Duration, error) {
			start := e.options.Now()
			again, err := e.sync(ctx, kind, key)
			e.options.Metrics.duration.WithLabelValues(kind.Name).Observe(e.options.Now().Sub(start).Seconds())
			if err == nil {
				kind.troubled.Remove(key)
			}
			if err == nil && again == 0 {
				kind.pending.Settle(key, start)
			}
			return again, err
		},
		Failed: func(ctx context.Context, key resource.Key, err error) {
			kind.troubled.Add(key)
			if !isOutcome(err) {
				e.options.Metrics.errors.WithLabelValues(kind.Name).Inc()
				klog.FromContext(ctx).Error(err, "Sync failed and will be tried again", "kind", kind.Name, "namespace", key.Namespace, "name", key.Name)
			}
		},
	}
}

// isOutcome reports whether err is the ordinary result of two sides that move at once.
func isOutcome(err error) bool { return errors.Is(err, errStale) || work.IsOutcome(err) }

// namespaceEnds reports whether a create failed because its namespace is on its way
// out, or gone: what would be told there is told to nobody.
func namespaceEnds(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}

// sync brings one object in line. It returns after what time it wants to be called again.
func (e *Engine) sync(ctx context.Context, kind *syncedKind, key resource.Key) (time.Duration, error) {
	env := e.Env()
	virtual, host, err := e.observe(env, kind, key)
	if err != nil {
		return 0, err
	}
	e.tellLost(kind, virtual)
	return e.carryOut(ctx, kind, key, virtual, plan.Decide(env, kind.Kind, virtual, host))
}

func (e *Engine) observe(env resource.Env, kind *syncedKind, key resource.Key) (virtual, host resource.Object, err error) {
	host = kind.hostObject(env, key)
	if kind.Direction == resource.ToHost {
		if host != nil && !kind.translates(host) {
			host = nil // a derived object that happens to stand there: the create will tell
		}
		return cached(kind.virtualInformer, key), host, nil
	}
	if host != nil && !kind.Select(env, host) && kind.Unsynced {
		return nil, nil, nil
	}
	virtualKey := key
	if host != nil {
		mapped, ok := kind.VirtualKey(env, host)
		if !ok && env.Now.Sub(host.GetCreationTimestamp().Time) < settling {
			// What it is about may not be in the caches yet.
			return nil, nil, errStale
		}
		if !ok {
			return nil, nil, nil
		}
		virtualKey = mapped
	}
	// An object without a virtual cache is taken to be new; the create tells if it isn't.
	// (What an uncached mirror leaves behind when its host object goes ends by itself.)
	return cached(kind.virtualInformer, virtualKey), host, nil
}

func (e *Engine) carryOut(ctx context.Context, kind *syncedKind, key resource.Key, virtual resource.Object, p plan.Plan) (time.Duration, error) {
	if p.Event != nil && virtual != nil {
		e.options.Recorder.Event(virtual, p.Event.Type, p.Event.Reason, p.Event.Message)
	}
	again := p.RequeueAfter
	if p.Wait != "" && again == 0 && virtual != nil {
		again = plan.Patience
		if e.options.Now().Sub(virtual.GetCreationTimestamp().Time) >= plan.Patience {
			e.options.Recorder.Event(virtual, corev1.EventTypeWarning, ReasonWaiting, "not on the host yet: "+p.Wait)
		}
	}
	if p.Event != nil && p.Event.Reason == plan.ReasonNameTaken {
		again = foreignRetry
	}
	for _, action := range p.Actions {
		after, err := e.execute(ctx, kind, key, virtual, action)
		if err != nil {
			return 0, err
		}
		again = max(again, after)
	}
	return again, nil
}

func (e *Engine) execute(ctx context.Context, kind *syncedKind, key resource.Key, virtual resource.Object, action plan.Action) (time.Duration, error) {
	side := kind.virtual
	if action.Side == plan.Host {
		side = kind.host
	}
	sent := e.options.Now()
	var err error
	switch action.Verb {
	case plan.Create:
		if late, lookErr := e.lateFor(ctx, kind, virtual, action); lookErr != nil || late {
			return 0, cmp.Or(lookErr, errStale)
		}
		err = side.create(ctx, action.Want)
	case plan.Patch:
		var sent bool
		if sent, err = e.patch(ctx, kind, virtual, action); !sent {
			return 0, err
		}
	case plan.Bind:
		err = side.bind(ctx, action.Live, action.Node)
		if apierrors.IsConflict(err) {
			err = nil // bound already; the cache will say so
		}
	case plan.Delete:
		if held, confirmErr := e.mayDelete(ctx, kind, key, action); held || confirmErr != nil {
			return 0, confirmErr
		}
		err = side.delete(ctx, action.Live, action.GracePeriodSeconds, action.Exact)
		if apierrors.IsNotFound(err) || action.Exact && apierrors.IsConflict(err) {
			err = nil // the cache will tell
		}
	}
	e.options.Metrics.writes.WithLabelValues(kind.Name, string(action.Side), string(action.Verb), outcome(err)).Inc()
	if action.Side == plan.Host && ctx.Err() == nil {
		e.heardHost(err)
	}
	if err == nil {
		e.options.Metrics.wrote(kind, key, action, sent, e.options.Now)
	}
	if err == nil && virtual != nil {
		e.outcomes.Note(virtual.GetUID(), action, "", e.options.Now())
	}
	if err == nil || kind.Unsynced && action.Verb == plan.Create && namespaceEnds(err) {
		return 0, nil
	}
	if action.Verb == plan.Create && action.Side == plan.Host && apierrors.IsAlreadyExists(err) {
		return e.meet(ctx, kind, key, virtual)
	}
	if action.Verb == plan.Create && action.Side == plan.Virtual && apierrors.IsAlreadyExists(err) {
		return e.meetVirtual(ctx, kind, key, action)
	}
	e.tellFailure(ctx, kind, virtual, action, err)
	return 0, fmt.Errorf("%s %s %s for virtual %s/%s: %w", action.Verb, action.Side, kind.Name, key.Namespace, key.Name, err)
}

// meet decides anew with what really holds the host name that a create wanted: ours,
// when the cache is behind or somebody took our label off, or somebody else's.
func (e *Engine) meet(ctx context.Context, kind *syncedKind, key resource.Key, virtual resource.Object) (time.Duration, error) {
	env := e.Env()
	host, err := kind.host.get(ctx, kind.hostKey(env, key))
	if err != nil {
		return 0, fmt.Errorf("read host %s for virtual %s/%s: %w", kind.Name, key.Namespace, key.Name, err)
	}
	p := plan.Decide(env, kind.Kind, virtual, host)
	for _, action := range p.Actions {
		if action.Verb == plan.Create {
			return 0, errStale
		}
	}
	return e.carryOut(ctx, kind, key, virtual, p)
}

// meetVirtual decides anew with what really holds the name of a mirror. Only kinds
// without a virtual cache get here in the ordinary course.
func (e *Engine) meetVirtual(ctx context.Context, kind *syncedKind, key resource.Key, action plan.Action) (time.Duration, error) {
	env := e.Env()
	host := kind.hostObject(env, key)
	if !kind.Unsynced || host == nil {
		return 0, errStale
	}
	virtual, err := kind.virtual.get(ctx, resource.KeyOf(action.Want))
	if err != nil {
		return 0, fmt.Errorf("read virtual %s %s: %w", kind.Name, action.Want.GetName(), err)
	}
	return e.carryOut(ctx, kind, key, virtual, plan.Decide(env, kind.Kind, virtual, host))
}

// mayDelete is the guard of deletions: orphans pass the breaker, and the end of a
// virtual object whose host object is out of sight is confirmed by the host itself.
func (e *Engine) mayDelete(ctx context.Context, kind *syncedKind, key resource.Key, action plan.Action) (held bool, err error) {
	env := e.Env()
	if action.Orphan {
		uid := types.UID(action.Live.GetAnnotations()[resource.AnnotationUID])
		return !e.breaker.Allow(kind.Name, uid, len(kind.hostInformer.GetStore().ListKeys())), nil
	}
	if action.Side != plan.Virtual || kind.Direction != resource.ToHost {
		return false, nil
	}
	hostKey := kind.hostKey(env, key)
	if cached(kind.hostInformer, hostKey) != nil || e.sawEnd(kind, hostKey.Name, action.Live) {
		return false, nil
	}
	host, err := kind.host.get(ctx, hostKey)
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return true, fmt.Errorf("confirm that host %s of virtual %s/%s is gone: %w", kind.Name, key.Namespace, key.Name, err)
	case !resource.IsOurs(env, kind.Name, host) || host.GetAnnotations()[resource.AnnotationUID] != string(action.Live.GetUID()):
		return false, nil
	}
	// It is there and ours, but our caches select by a label that it has lost.
	_, err = e.carryOut(ctx, kind, key, action.Live, plan.Decide(env, kind.Kind, action.Live, host))
	return true, err
}

// sawEnd reports whether the host object of virtual was seen to leave while it was being
// deleted, and not for another in its place: what is on its way out does not come back, and
// no question is needed. (That somebody has taken our label off it at that very time does no
// harm: its name stays taken until it is gone.)
func (e *Engine) sawEnd(kind *syncedKind, hostName string, virtual resource.Object) bool {
	was, host := kind.departed.Get(hostName, e.options.Now())
	if was != nil && kind.Replacing(was) {
		return false
	}
	return host != nil && host.GetDeletionTimestamp() != nil && resource.IsOurs(e.Env(), kind.Name, host) &&
		host.GetAnnotations()[resource.AnnotationUID] == string(virtual.GetUID())
}

func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case apierrors.IsConflict(err):
		return "conflict"
	case apierrors.IsNotFound(err):
		return "not_found"
	case apierrors.IsAlreadyExists(err):
		return "already_exists"
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err):
		return "rejected"
	default:
		return "error"
	}
}
