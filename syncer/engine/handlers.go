package engine

import (
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"nestling.dev/nestling/syncer/resource"
)

// watchKind connects both informers of a kind to the queues. The returned functions
// report whether everything that was listed first has passed the handlers.
func (e *Engine) watchKind(kind *syncedKind) ([]cache.InformerSynced, error) {
	var synced []cache.InformerSynced
	// before is nil for an object that is new.
	add := func(informer cache.SharedIndexInformer, changed func(before, now resource.Object), gone func(resource.Object)) error {
		registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(in any) { changed(nil, in.(resource.Object)) },
			UpdateFunc: func(before, in any) { changed(before.(resource.Object), in.(resource.Object)) },
			DeleteFunc: func(in any) {
				if tombstone, ok := in.(cache.DeletedFinalStateUnknown); ok {
					in = tombstone.Obj
				}
				if object, ok := in.(resource.Object); ok {
					gone(object)
				}
			},
		})
		if err == nil {
			synced = append(synced, registration.HasSynced)
		}
		return err
	}
	if kind.virtualInformer != nil {
		if err := add(kind.virtualInformer,
			func(before, object resource.Object) {
				if e.HasSynced() && kind.Direction == resource.ToHost && touched(before, object) {
					kind.pending.Virtual(resource.KeyOf(object), e.options.Now())
				}
				e.virtualChanged(kind, object, kind.Refs(object))
			},
			func(object resource.Object) {
				e.virtualGone(kind, object)
				if e.HasSynced() && kind.Direction == resource.ToHost {
					kind.pending.Virtual(resource.KeyOf(object), e.options.Now())
				}
				e.virtualChanged(kind, object, nil)
			}); err != nil {
			return nil, err
		}
	}
	if kind.hostInformer != nil {
		if err := add(kind.hostInformer,
			func(before, object resource.Object) {
				e.sourceChanged(kind, before, object)
				if before != nil && !sameVirtualKey(before, object) {
					e.hostChanged(kind, before, false) // somebody has written over the way back
				}
				e.hostPending(kind, before, object, false)
				e.hostChanged(kind, object, false)
			},
			func(object resource.Object) {
				e.sourceChanged(kind, object)
				e.hostPending(kind, nil, object, true)
				e.hostChanged(kind, object, true)
			}); err != nil {
			return nil, err
		}
	}
	return synced, nil
}

func sameVirtualKey(a, b resource.Object) bool {
	keyA, okA := resource.VirtualKey(a)
	keyB, okB := resource.VirtualKey(b)
	return keyA == keyB && okA == okB
}

func (e *Engine) virtualChanged(kind *syncedKind, object resource.Object, refs []resource.Ref) {
	key := resource.KeyOf(object)
	for _, target := range e.references.Set(owner{kind.Resource.Resource, key}, refs) {
		if other, ok := e.kinds[target.Resource]; ok && other.Direction == resource.ToHost {
			other.queue.Add(target.Key)
		}
	}
	switch {
	case kind.Direction == resource.ToHost:
		kind.queue.Add(key)
	case kind.Direction == resource.FromHost && kind.virtualInformer != nil:
		// A mirror has its host object's key unless the kind says otherwise, and such
		// kinds have no virtual informer. One that is the tenant's own may have left its
		// name to a mirror.
		kind.queue.Add(key)
		if kind.Yields && object.GetAnnotations()[resource.AnnotationMirror] == "" && kind.hostInformer != nil {
			for _, host := range kind.hostInformer.GetStore().List() {
				kind.queue.Add(resource.KeyOf(host.(resource.Object)))
			}
		}
	}
	e.wakeReferrers(kind, key)
}

// virtualGone remembers that the virtual object was seen to go, for as long as there is
// a host object to delete because of it; and for a while where none is in sight, since one
// may be on its way.
func (e *Engine) virtualGone(kind *syncedKind, object resource.Object) {
	if kind.Direction == resource.ToHost {
		if cached(kind.hostInformer, kind.hostKey(e.options.Env, resource.KeyOf(object))) != nil {
			e.breaker.Witness(object.GetUID())
			return
		}
		e.breaker.WitnessEarly(object.GetUID(), e.options.Now())
	}
	kind.forget(object.GetUID())
}

func (e *Engine) hostChanged(kind *syncedKind, object resource.Object, gone bool) {
	if kind.Direction == resource.FromHost { // its mirror is in the namespace that Everywhere says, if it says one
		kind.queue.Add(kind.mirrorKey(object))
		return
	}
	key, ok := resource.VirtualKey(object)
	if !ok {
		return
	}
	if !kind.translates(object) {
		if source, ok := e.kindNamed[derivedFrom(object)]; ok {
			source.queue.Add(key)
		}
		return
	}
	if gone && kind.Mortal {
		kind.departed.Add(cached(kind.virtualInformer, key), object, e.options.Now())
	}
	if !gone {
		kind.sawHost(object)
	} else if cached(kind.virtualInformer, key) == nil {
		uid := object.GetAnnotations()[resource.AnnotationUID]
		e.breaker.Forget(types.UID(uid))
		kind.forget(types.UID(uid))
	}
	kind.queue.Add(key)
	e.wakeReferrers(kind, key)
}

// hostPending records what is to be measured: not what was there before this process.
func (e *Engine) hostPending(kind *syncedKind, before, object resource.Object, gone bool) {
	switch {
	case !e.HasSynced():
	case kind.Direction == resource.FromHost:
		kind.pending.Host(kind.mirrorKey(object), false, gone, e.options.Now())
	case kind.translates(object):
		if key, ok := resource.VirtualKey(object); ok {
			kind.pending.Host(key, before != nil && touched(before, object), gone, e.options.Now())
		}
	}
}

// sourceChanged looks again at the mirrors of other kinds on which host objects of this
// kind decide.
func (e *Engine) sourceChanged(kind *syncedKind, objects ...resource.Object) {
	for _, other := range e.order {
		names, ok := other.Sources[kind.Resource.Resource]
		if !ok {
			continue
		}
		for _, object := range objects {
			if object == nil {
				continue
			}
			for _, name := range names(object) {
				other.queue.Add(resource.Key{Name: name})
			}
		}
	}
}

// wakeReferrers looks again at the objects that refer to key, or to all of the kind: they may
// wait for it.
func (e *Engine) wakeReferrers(kind *syncedKind, key resource.Key) {
	for _, target := range []resource.Key{key, {}} {
		for _, from := range e.references.From(resource.Ref{Resource: kind.Resource.Resource, Key: target}) {
			if other, ok := e.kinds[from.resource]; ok && other.Direction == resource.ToHost {
				other.queue.Add(from.key)
			}
		}
	}
}
