package engine

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"nestling.dev/nestling/syncer/explain"
	"nestling.dev/nestling/syncer/resource"
)

// Knows is the kind of a resource, false for one that the engine does not know.
func (e *Engine) Knows(gr schema.GroupResource) (resource.Kind, bool) {
	kind, ok := e.kinds[gr.Resource]
	if !ok || kind.Resource.Group != gr.Group {
		return resource.Kind{}, false
	}
	return kind.Kind, true
}

// Explain tells what became of a virtual object of a kind that the engine knows.
func (e *Engine) Explain(gr schema.GroupResource, virtual resource.Object) explain.Explanation {
	kind, env := e.kinds[gr.Resource], e.Env()
	var host resource.Object
	if kind.Direction == resource.ToHost {
		if host = kind.hostObject(env, resource.KeyOf(virtual)); host != nil && !kind.translates(host) {
			host = nil
		}
	}
	known := explain.Known{Away: e.contact.Since()}
	known.Host, known.Virtual = e.outcomes.Last(virtual.GetUID())
	if host != nil {
		known.Held = e.breaker.Holds(kind.Name, types.UID(host.GetAnnotations()[resource.AnnotationUID]))
	}
	return explain.Of(env, kind.Kind, virtual, host, known)
}
