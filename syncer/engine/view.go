package engine

import (
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"nestling.dev/nestling/syncer/resource"
)

// view is the resource.View of an engine's caches.
type view struct{ engine *Engine }

func (v view) Virtual(plural string, key resource.Key) resource.Object {
	kind, ok := v.engine.kinds[plural]
	if !ok {
		return nil
	}
	return cached(kind.virtualInformer, key)
}

func (v view) VirtualList(plural, namespace string) []resource.Object {
	kind, ok := v.engine.kinds[plural]
	if !ok || kind.virtualInformer == nil {
		return nil
	}
	var items []any
	if namespace == "" {
		items = kind.virtualInformer.GetStore().List()
	} else {
		// The index is made by newInformer, so there is no error to see.
		items, _ = kind.virtualInformer.GetIndexer().ByIndex(cache.NamespaceIndex, namespace)
	}
	out := make([]resource.Object, 0, len(items))
	for _, item := range items {
		out = append(out, item.(resource.Object))
	}
	return out
}

func (v view) Host(plural, name string) resource.Object {
	kind, ok := v.engine.kinds[plural]
	if !ok {
		return nil
	}
	key := resource.Key{Name: name}
	if kind.Namespaced {
		key.Namespace = v.engine.options.Env.HostNamespace
	}
	return cached(kind.hostInformer, key)
}

func (v view) HostList(plural string) []resource.Object {
	kind, ok := v.engine.kinds[plural]
	if !ok || kind.hostInformer == nil {
		return nil
	}
	items := kind.hostInformer.GetStore().List()
	out := make([]resource.Object, 0, len(items))
	for _, item := range items {
		out = append(out, item.(resource.Object))
	}
	return out
}

func (v view) Named(hostName string) resource.Object {
	for _, kind := range v.engine.order {
		if kind.Direction != resource.ToHost {
			continue
		}
		if object := cached(kind.hostInformer, resource.Key{Namespace: v.engine.options.Env.HostNamespace, Name: hostName}); object != nil {
			return object
		}
		if _, object := kind.departed.Get(hostName, v.engine.options.Now()); object != nil {
			return object
		}
	}
	return nil
}

func (v view) Departed(plural, name string) (virtual, host resource.Object) {
	kind, ok := v.engine.kinds[plural]
	if !ok {
		return nil, nil
	}
	return kind.departed.Get(name, v.engine.options.Now())
}

func (v view) Referenced(plural string, key resource.Key) bool {
	return v.engine.references.Has(resource.Ref{Resource: plural, Key: key})
}

func (v view) Created(uid types.UID) bool {
	for _, kind := range v.engine.order {
		if kind.Mortal && kind.hasSeen(uid) {
			return true
		}
	}
	return false
}
