package engine

import (
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"nestling.dev/nestling/syncer/resource"
)

// Informer follows all objects of a resource in a namespace of an API server. As those of
// the engine's kinds do, it outlasts outages without a word. Of the kind, Resource, New
// and Namespaced are needed.
func Informer(config *rest.Config, kind resource.Kind, namespace string) (cache.SharedIndexInformer, error) {
	client, err := newClient(config, kind)
	if err != nil {
		return nil, err
	}
	return newInformer(client, namespace, labels.Everything(), func() {})
}
