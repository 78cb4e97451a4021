package engine

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
)

// syncedKind is one kind at work: its clients, its two caches and its queue.
type syncedKind struct {
	resource.Kind
	virtual, host                 *client
	virtualInformer, hostInformer cache.SharedIndexInformer // nil where the kind has none
	queue                         queue
	troubled                      troubled
	pending                       pending
	departed                      departed // of Mortal kinds
	futile                        notes    // patches that changed nothing
	told                          notes    // what users were told about the two versions

	mu   sync.Mutex
	seen map[types.UID]struct{} // virtual UIDs whose host object the host cache has held
}

func newSyncedKind(kind resource.Kind, options Options, back func(), heard func(error)) (*syncedKind, error) {
	k := &syncedKind{Kind: kind, seen: map[types.UID]struct{}{}, futile: notes{keep: futileFor}}
	var err error
	if k.virtual, err = newClient(options.Virtual, kind); err != nil {
		return nil, fmt.Errorf("virtual side: %w", err)
	}
	if k.host, err = newClient(options.Host, kind); err != nil {
		return nil, fmt.Errorf("host side: %w", err)
	}
	k.host.heard = heard
	if !kind.Unsynced {
		k.virtualInformer, err = newInformer(k.virtual, "", labels.Everything(), func() {})
		if err != nil {
			return nil, err
		}
	}
	switch {
	case kind.Direction == resource.ReadOnly, kind.Make != nil:
	case kind.Direction == resource.ToHost:
		ours := labels.SelectorFromSet(labels.Set{resource.LabelTenant: options.Env.Tenant})
		k.hostInformer, err = newInformer(k.host, options.Env.HostNamespace, ours, back)
	case kind.Everywhere != "":
		k.hostInformer, err = newInformer(k.host, "", labels.Everything(), back)
		if err == nil {
			err = k.hostInformer.AddIndexers(cache.Indexers{byName: func(in any) ([]string, error) {
				return []string{in.(resource.Object).GetName()}, nil
			}})
		}
	case kind.Namespaced:
		k.hostInformer, err = newInformer(k.host, options.Env.HostNamespace, labels.Everything(), back)
	default:
		k.hostInformer, err = newInformer(k.host, "", labels.Everything(), back)
	}
	k.queue = newQueue(k.urgent)
	return k, err
}

func newInformer(c *client, namespace string, selector labels.Selector, back func()) (cache.SharedIndexInformer, error) {
	informer := cache.NewSharedIndexInformer(c.listWatch(namespace, selector, back), c.kind.New(), 0,
		cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	// Both are as large as the object itself, and no translation reads them.
	err := informer.SetTransform(func(in any) (any, error) {
		if object, ok := in.(resource.Object); ok {
			object.SetManagedFields(nil)
		}
		return in, nil
	})
	return informer, err
}

// urgent keys are those of objects that are on their way out.
func (k *syncedKind) urgent(key resource.Key) bool {
	if k.Direction != resource.ToHost {
		return false
	}
	object := cached(k.virtualInformer, key)
	return object == nil || object.GetDeletionTimestamp() != nil
}

// hostKey is where the host object of a virtual key is.
func (k *syncedKind) hostKey(env resource.Env, key resource.Key) resource.Key {
	if k.Direction == resource.FromHost {
		return key
	}
	return resource.Key{Namespace: env.HostNamespace, Name: naming.Host(env.Tenant, key.Namespace, key.Name)}
}

// hostObject is the host object of a virtual key, nil if there is none.
func (k *syncedKind) hostObject(env resource.Env, key resource.Key) resource.Object {
	if k.Make != nil {
		return k.Make(env, key.Name)
	}
	if k.Everywhere != "" {
		return k.anywhere(key.Name)
	}
	return cached(k.hostInformer, k.hostKey(env, key))
}

// byName is an index of host objects of all namespaces.
const byName = "name"

// anywhere is the host object of a name in whatever namespace: the first, if there are two.
func (k *syncedKind) anywhere(name string) resource.Object {
	items, err := k.hostInformer.GetIndexer().ByIndex(byName, name)
	if err != nil || len(items) == 0 {
		return nil
	}
	return slices.MinFunc(items, func(a, b any) int {
		return strings.Compare(a.(resource.Object).GetNamespace(), b.(resource.Object).GetNamespace())
	}).(resource.Object)
}

// mirrorKey is where the mirror of a host object is worked on.
func (k *syncedKind) mirrorKey(host resource.Object) resource.Key {
	if k.Everywhere != "" {
		return resource.Key{Namespace: k.Everywhere, Name: host.GetName()}
	}
	return resource.KeyOf(host)
}

func (k *syncedKind) sawHost(host resource.Object) {
	if uid := host.GetAnnotations()[resource.AnnotationUID]; uid != "" {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.seen[types.UID(uid)] = struct{}{}
	}
}

func (k *syncedKind) forget(uid types.UID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.seen, uid)
}

func (k *syncedKind) hasSeen(uid types.UID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.seen[uid]
	return ok
}

// translates reports whether host is this kind's own translation, and not one that
// is derived from another kind's object (a pod's tokens are a host Secret).
func (k *syncedKind) translates(host resource.Object) bool {
	return host.GetAnnotations()[resource.AnnotationKind] == k.Name
}

// derivedFrom is the name of the kind from whose object a host object is derived:
// their kind annotation reads "Pod/tokens".
func derivedFrom(host resource.Object) string {
	kind, _, _ := strings.Cut(host.GetAnnotations()[resource.AnnotationKind], "/")
	return kind
}

// cached is an object of an informer's cache, nil if it has none.
func cached(informer cache.SharedIndexInformer, key resource.Key) resource.Object {
	if informer == nil {
		return nil
	}
	name := key.Name
	if key.Namespace != "" {
		name = key.Namespace + "/" + name
	}
	item, ok, err := informer.GetStore().GetByKey(name)
	if err != nil || !ok {
		return nil
	}
	return item.(resource.Object)
}
