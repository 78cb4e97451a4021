package initialobjects

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
)

// watches are one for each resource of which there is an initial object.
type watches struct {
	client  dynamic.Interface
	changed func(resource schema.GroupVersionResource, object *unstructured.Unstructured, gone bool)
	running sync.WaitGroup
	known   map[schema.GroupVersionResource]bool // of one goroutine
}

func newWatches(client dynamic.Interface, changed func(schema.GroupVersionResource, *unstructured.Unstructured, bool)) *watches {
	return &watches{client: client, changed: changed, known: map[schema.GroupVersionResource]bool{}}
}

func (w *watches) wait() { w.running.Wait() }

// follow watches the objects of a resource that have the label, until ctx ends, if nobody
// does yet.
func (w *watches) follow(ctx context.Context, resource schema.GroupVersionResource) {
	if w.known[resource] || ctx.Err() != nil {
		return
	}
	w.known[resource] = true
	informer := dynamicinformer.NewFilteredDynamicInformer(w.client, resource, metav1.NamespaceAll, 0, cache.Indexers{},
		func(options *metav1.ListOptions) { options.LabelSelector = Label + "=true" }).Informer()
	tell := func(object any, gone bool) {
		if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = unknown.Obj
		}
		if object, ok := object.(*unstructured.Unstructured); ok {
			w.changed(resource, object, gone)
		}
	}
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{ // fails only after it has been stopped
		AddFunc:    func(object any) { tell(object, false) },
		UpdateFunc: func(_, object any) { tell(object, false) },
		DeleteFunc: func(object any) { tell(object, true) },
	})
	w.running.Go(func() { informer.RunWithContext(ctx) })
}

// fingerprint tells apart what an object says, but for what is the server's own and for
// its status.
type fingerprint [sha256.Size]byte

func fingerprintOf(object *unstructured.Unstructured) fingerprint {
	content := make(map[string]any, len(object.Object))
	for key, value := range object.Object {
		if key != "status" {
			content[key] = value
		}
	}
	if metadata, ok := content["metadata"].(map[string]any); ok {
		own := make(map[string]any, len(metadata))
		for key, value := range metadata {
			switch key {
			case "managedFields", "resourceVersion", "generation":
			default:
				own[key] = value
			}
		}
		content["metadata"] = own
	}
	data, err := json.Marshal(content) // sorts keys
	if err != nil {
		panic(err) // it came as JSON
	}
	return sha256.Sum256(data)
}
