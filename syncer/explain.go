package syncer

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"nestling.dev/nestling/syncer/explain"
	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
)

// Version in which the syncer has objects of a resource; false if it has none of it.
func (s *Syncer) Version(gr schema.GroupResource) (string, bool) {
	kind, ok := s.engine.Knows(gr)
	return kind.Resource.Version, ok
}

// Explain tells what became of an object of the virtual cluster on the host. The object is
// of whatever kind, in the version that Version says.
func (s *Syncer) Explain(gvr schema.GroupVersionResource, kindName string, object *unstructured.Unstructured) (*explain.Explanation, error) {
	if !s.HasSynced() {
		return nil, errors.New("the syncer's caches are not filled yet; try again")
	}
	kind, ok := s.engine.Knows(gvr.GroupResource())
	if !ok {
		state, message := staying(s.kinds, gvr.GroupResource(), kindName)
		return new(explain.Staying(gvr, kindName, object, state, message)), nil
	}
	virtual := resource.Object(object)
	if !kind.Custom {
		virtual = kind.New()
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, virtual); err != nil {
			return nil, fmt.Errorf("read %s %s: %w", kindName, object.GetName(), err)
		}
	}
	return new(s.engine.Explain(gvr.GroupResource(), virtual)), nil
}

// staying says why objects of a resource are not on the host.
func staying(options resources.Options, gr schema.GroupResource, kind string) (explain.State, string) {
	for _, known := range resources.Registry(resources.Options{ServiceAccounts: true, Snapshots: true}) {
		switch {
		case known.Resource.GroupResource() != gr:
		case options.Disabled[gr.Resource]:
			return explain.NotSynced, "whoever runs this cluster has turned off that objects of this kind are synced: it stays here"
		case options.Unreadable[gr.String()]:
			return explain.NotSynced, "the host does not serve objects of this kind, or does not let this cluster use them: it stays here"
		case gr.Resource == "serviceaccounts":
			return explain.Stays, "it stays in this cluster, as its tokens do: pods run as an account without rights on the host"
		default:
			return explain.NotSynced, "the host has nothing that serves objects of this kind: it stays here"
		}
	}
	switch kind {
	case "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController":
		return explain.Stays, "it stays in this cluster, whose controllers make its pods: those go to the host"
	case "CronJob":
		return explain.Stays, "it stays in this cluster, whose controllers make its Jobs and their pods: those pods go to the host"
	}
	return explain.Stays, "objects of this kind stay in this cluster, by design: its own API server and controllers act on them"
}
