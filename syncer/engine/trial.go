package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/syncer/apply"
	"nestling.dev/nestling/syncer/plan"
	"nestling.dev/nestling/syncer/resource"
)

// Trial is one write to the host that an object on its way into the virtual cluster
// would lead to. The host can be asked about it without its being done.
type Trial struct {
	engine  *Engine
	kind    *syncedKind
	virtual resource.Object
	action  plan.Action
	patch   []byte // of a Patch; nil if it would change nothing
}

// Tries reports whether there can be trials of a resource, and in which version.
func (e *Engine) Tries(gr schema.GroupResource) (schema.GroupVersion, bool) {
	kind, ok := e.kinds[gr.Resource]
	if !ok || kind.Resource.Group != gr.Group || kind.Direction != resource.ToHost {
		return schema.GroupVersion{}, false
	}
	return kind.Resource.GroupVersion(), true
}

// Trials are the writes to the host that virtual would lead to, if it were written as it
// is. There are none for an object that does not take part, or before the caches are
// filled. What keeps a new object waiting (a Secret on its way to the host) is nothing
// that the host would refuse it for, and is passed over. The error is a
// *resource.Rejection for an object that will never be translated.
//
// Old is the object as it is, nil for one that is new. What the host has not taken of it
// yet is no matter of this change.
func (e *Engine) Trials(ctx context.Context, gr schema.GroupResource, virtual, old resource.Object) ([]Trial, error) {
	if _, ok := e.Tries(gr); !ok || !e.synced.Load() || virtual.GetDeletionTimestamp() != nil {
		return nil, nil
	}
	kind := e.kinds[gr.Resource]
	if old == nil {
		e.awaitCaches(ctx, kind, virtual)
	}
	env := e.Env()
	if !kind.Select(env, virtual) {
		return nil, nil
	}
	host := kind.hostObject(env, resource.KeyOf(virtual))
	if host != nil && (!kind.translates(host) || host.GetAnnotations()[resource.AnnotationUID] != string(virtual.GetUID())) {
		host = nil
	}
	switch {
	case old != nil && host == nil:
		return nil, nil // it was let pass when it was new
	case old == nil:
		desired, err := kind.ToHost(env, virtual)
		if err != nil {
			return nil, err
		}
		want := resource.Stamp(env, kind.Name, virtual, desired)
		return []Trial{{engine: e, kind: kind, virtual: virtual, action: plan.Action{Verb: plan.Create, Want: want}}}, nil
	}
	pending := map[string]bool{}
	for _, trial := range e.patchTrials(env, kind, old, host) {
		pending[string(trial.patch)] = true
	}
	return slices.DeleteFunc(e.patchTrials(env, kind, virtual, host), func(trial Trial) bool { return pending[string(trial.patch)] }), nil
}

// patchTrials are the patches of host that virtual would lead to.
func (e *Engine) patchTrials(env resource.Env, kind *syncedKind, virtual, host resource.Object) []Trial {
	var out []Trial
	for _, action := range plan.Decide(env, kind.Kind, virtual, host).Actions {
		if action.Side != plan.Host || action.Verb != plan.Patch {
			continue
		}
		if patch, err := apply.Patch(kind.Kind, action.Live, action.Want); err == nil {
			out = append(out, Trial{e, kind, virtual, action, patch})
		}
	}
	return out
}

// Do asks the host, by a dry run. It returns the object as the host would have it, and
// what the host warns of.
func (t Trial) Do(ctx context.Context) (host resource.Object, warnings []string, err error) {
	var request *rest.Request
	switch {
	case t.action.Verb == plan.Create:
		request = t.kind.host.creation(t.action.Want, metav1.DryRunAll)
	case t.patch == nil:
		return t.action.Want, nil, nil
	default:
		request = t.kind.host.change(t.action.Live, t.action.Subresource, t.patch, metav1.DryRunAll)
	}
	// A host that says "later" says nothing about the object, and waiting is not ours to do.
	result := request.MaxRetries(0).WarningHandler(rest.NoWarnings{}).Do(ctx)
	for _, warning := range result.Warnings() {
		warnings = append(warnings, warning.Text)
	}
	if lost := t.engine.skew.pruner(t.kind.Kind).Find(t.virtual); len(lost) > 0 {
		warnings = append(warnings, hostLacks+strings.Join(lost, ", "))
	}
	host = t.kind.New()
	if err := result.Into(host); err != nil {
		return nil, warnings, fmt.Errorf("try to %s host %s for virtual %s/%s: %w", t.action.Verb, t.kind.Name, t.virtual.GetNamespace(), t.virtual.GetName(), err)
	}
	return host, warnings, nil
}

// Words is what the host says about the trial, in the tenant's words.
func (t Trial) Words(text string) string { return t.engine.words(t.kind, t.virtual, text) }

// Arrived reports whether the host object of a virtual one is there.
func (e *Engine) Arrived(gr schema.GroupResource, virtual resource.Object) bool {
	kind, ok := e.kinds[gr.Resource]
	if !ok || kind.Direction != resource.ToHost {
		return false
	}
	host := kind.hostObject(e.Env(), resource.KeyOf(virtual))
	return host != nil && host.GetAnnotations()[resource.AnnotationUID] == string(virtual.GetUID())
}

// HostObjects are what this cluster has on the host of a resource, as the cache knows it.
// They are the cache's own, not to be changed.
func (e *Engine) HostObjects(gr schema.GroupResource) []resource.Object {
	return e.Env().View.HostList(gr.Resource)
}
