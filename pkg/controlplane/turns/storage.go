package turns

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	"k8s.io/client-go/tools/cache"
)

// patience is less than the 10 s that a webhook has by default.
const patience = 5 * time.Second

// For is upstream's getter with turns in the storage of one resource.
func For(resource schema.GroupResource, upstream generic.RESTOptionsGetter) generic.RESTOptionsGetter {
	return &getter{RESTOptionsGetter: upstream, resource: resource}
}

type getter struct {
	generic.RESTOptionsGetter
	resource schema.GroupResource
}

func (g *getter) GetRESTOptions(resource schema.GroupResource, example runtime.Object) (generic.RESTOptions, error) {
	options, err := g.RESTOptionsGetter.GetRESTOptions(resource, example)
	if err == nil && resource == g.resource {
		options.Decorator = decorate(options.Decorator)
	}
	return options, err
}

func decorate(inner generic.StorageDecorator) generic.StorageDecorator {
	return func(
		config *storagebackend.ConfigForResource, prefix string, keyFunc func(runtime.Object) (string, error),
		newFunc, newListFunc func() runtime.Object, attributes storage.AttrFunc, trigger storage.IndexerFuncs, indexers *cache.Indexers,
	) (storage.Interface, factory.DestroyFunc, error) {
		upstream, destroy, err := inner(config, prefix, keyFunc, newFunc, newListFunc, attributes, trigger, indexers)
		if err != nil {
			return nil, destroy, err
		}
		return &ordered{Interface: upstream, newObject: newFunc}, destroy, nil
	}
}

// ordered is a storage whose updates and deletions of one key come one after the other.
type ordered struct {
	storage.Interface
	newObject func() runtime.Object
	turns     turns
}

// errLate says that an object of the cache is not what etcd has. Upstream's storage then
// reads it again.
var errLate = errors.New("the object in the cache is late")

// GuaranteedUpdate is upstream's, but for when it calls update: in the key's turn, and with
// what etcd has.
func (o *ordered) GuaranteedUpdate(
	ctx context.Context, key string, destination runtime.Object, ignoreNotFound bool,
	preconditions *storage.Preconditions, update storage.UpdateFunc, suggested runtime.Object,
) error {
	defer o.turns.take(ctx, key, patience)()
	for {
		current, err := o.version(ctx, key)
		if err != nil {
			return err
		}
		timely := func(existing runtime.Object, meta storage.ResponseMeta) (runtime.Object, *uint64, error) {
			if meta.ResourceVersion != current {
				return nil, nil, errLate
			}
			return update(existing, meta)
		}
		err = o.Interface.GuaranteedUpdate(ctx, key, destination, ignoreNotFound, preconditions, timely, suggested)
		if !errors.Is(err, errLate) {
			return err
		}
		// Somebody has written without a turn since: see take.
	}
}

// Delete is upstream's in the key's turn.
func (o *ordered) Delete(
	ctx context.Context, key string, out runtime.Object, preconditions *storage.Preconditions,
	validate storage.ValidateObjectFunc, suggested runtime.Object, options storage.DeleteOptions,
) error {
	defer o.turns.take(ctx, key, patience)()
	return o.Interface.Delete(ctx, key, out, preconditions, validate, suggested, options)
}

// version of what etcd has at a key; 0 is nothing.
func (o *ordered) version(ctx context.Context, key string) (uint64, error) {
	object := o.newObject()
	if err := o.Get(ctx, key, storage.GetOptions{IgnoreNotFound: true}, object); err != nil {
		return 0, err
	}
	return o.Versioner().ObjectResourceVersion(object)
}
