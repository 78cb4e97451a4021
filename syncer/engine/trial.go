package engine

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
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
func (e *Engine) Trials(gr schema.GroupResource, virtual, old resource.Object) ([]Trial, error) {
	if _, ok := e.Tries(gr); !ok || !e.synced.Load() || virtual.GetDeletionTimestamp() != nil {
		return nil, nil
	}
	kind := e.kinds[gr.Resource]
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
		return []Trial{{e, kind, virtual, plan.Action{Verb: plan.Create, Want: want}}}, nil
	}
	var out []Trial
	pending := hostPatches(kind, plan.Decide(env, kind.Kind, old, host))
	for _, action := range plan.Decide(env, kind.Kind, virtual, host).Actions {
		if action.Side != plan.Host || action.Verb != plan.Patch {
			continue
		}
		if patch, err := apply.Patch(kind.Kind, action.Live, action.Want); err == nil && !pending[string(patch)] {
			out = append(out, Trial{e, kind, virtual, action})
		}
	}
	return out, nil
}

// hostPatches are the patches of the host object that a plan has.
func hostPatches(kind *syncedKind, p plan.Plan) map[string]bool {
	out := map[string]bool{}
	for _, action := range p.Actions {
		if action.Side != plan.Host || action.Verb != plan.Patch {
			continue
		}
		if patch, err := apply.Patch(kind.Kind, action.Live, action.Want); err == nil {
			out[string(patch)] = true
		}
	}
	return out
}

// Do asks the host, by a dry run. It returns the object as the host would have it, and
// what the host warns of.
func (t Trial) Do(ctx context.Context) (host resource.Object, warnings []string, err error) {
	var request *rest.Request
	if create := t.action.Want; t.action.Verb == plan.Create {
		request = t.kind.host.rest.Post().NamespaceIfScoped(create.GetNamespace(), t.kind.Namespaced).Resource(t.kind.Resource.Resource).
			SpecificallyVersionedParams(&metav1.CreateOptions{FieldManager: FieldManager, DryRun: []string{metav1.DryRunAll}}, scheme.ParameterCodec, corev1.SchemeGroupVersion).
			Body(create)
	} else {
		patch, err := apply.Patch(t.kind.Kind, t.action.Live, t.action.Want)
		if err != nil || patch == nil {
			return t.action.Want, nil, err
		}
		request = t.kind.host.rest.Patch(apply.Type(t.kind.Kind)).NamespaceIfScoped(t.action.Live.GetNamespace(), t.kind.Namespaced).
			Resource(t.kind.Resource.Resource).Name(t.action.Live.GetName()).
			SpecificallyVersionedParams(&metav1.PatchOptions{FieldManager: FieldManager, DryRun: []string{metav1.DryRunAll}}, scheme.ParameterCodec, corev1.SchemeGroupVersion).
			Body(patch)
		if t.action.Subresource != "" {
			request = request.SubResource(t.action.Subresource)
		}
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
