package engine

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/util/wait"

	"nestling.dev/nestling/syncer/plan"
	"nestling.dev/nestling/syncer/resource"
)

const (
	// catchUp is how often a cache is looked at that is known to be behind.
	catchUp = 10 * time.Millisecond
	// requestPatience is how long a request waits for that.
	requestPatience = time.Second
)

// behind are the objects that virtual names, that are in the virtual cluster, and that the
// caches do not have: each kind comes through a watch of its own, and what was made first may
// be heard of last. A host object that is made without them may be wrong for good: it would have
// no variable of an optional ConfigMap, or the class of another.
func (e *Engine) behind(ctx context.Context, kind *syncedKind, virtual resource.Object) ([]resource.Ref, error) {
	var out []resource.Ref
	for _, ref := range kind.Refs(virtual) {
		if e.knows(ref) {
			continue
		}
		_, err := e.kinds[ref.Resource].virtual.get(ctx, ref.Key)
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return nil, fmt.Errorf("look for virtual %s %s, which virtual %s %s/%s names: %w",
				ref.Resource, ref.Key.Name, kind.Name, virtual.GetNamespace(), virtual.GetName(), err)
		default:
			out = append(out, ref)
		}
	}
	return out, nil
}

// lateFor reports whether a host object would be made too early.
func (e *Engine) lateFor(ctx context.Context, kind *syncedKind, virtual resource.Object, action plan.Action) (bool, error) {
	if action.Side != plan.Host || virtual == nil {
		return false, nil
	}
	if kind.hasSeen(virtual.GetUID()) {
		if late, err := e.outOfDate(ctx, kind, virtual); late || err != nil {
			return late, err
		}
	}
	late, err := e.behind(ctx, kind, virtual)
	return len(late) > 0, err
}

// outOfDate reports whether a virtual object is not what the cache has. It is asked where a host
// object is made anew, which has to be what the last one was: a claim that lost its host claim
// must not get an empty volume because the syncer's own note of the volume is on its way.
func (e *Engine) outOfDate(ctx context.Context, kind *syncedKind, virtual resource.Object) (bool, error) {
	live, err := kind.virtual.get(ctx, resource.KeyOf(virtual))
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read virtual %s %s/%s: %w", kind.Name, virtual.GetNamespace(), virtual.GetName(), err)
	}
	return live.GetUID() != virtual.GetUID() || live.GetResourceVersion() != virtual.GetResourceVersion(), nil
}

// knows reports whether a cache has what is named, or has no business with it.
func (e *Engine) knows(ref resource.Ref) bool {
	kind := e.kinds[ref.Resource]
	return kind == nil || kind.virtualInformer == nil || !canExist(ref.Key) || cached(kind.virtualInformer, ref.Key) != nil
}

// canExist is false of what no object is called: the API does not look at every name that one
// object gives of another (imagePullSecrets, annotations).
func canExist(key resource.Key) bool {
	return key.Name != "" && len(path.IsValidPathSegmentName(key.Name))+len(path.IsValidPathSegmentName(key.Namespace)) == 0
}

// awaitCaches waits for what a new virtual object names. It is for requests, which do without
// what they have waited for in vain.
func (e *Engine) awaitCaches(ctx context.Context, kind *syncedKind, virtual resource.Object) {
	ctx, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	late, err := e.behind(ctx, kind, virtual)
	if err != nil {
		return
	}
	_ = wait.PollUntilContextCancel(ctx, catchUp, true, func(context.Context) (bool, error) {
		for _, ref := range late {
			if !e.knows(ref) {
				return false, nil
			}
		}
		return true, nil
	})
}
