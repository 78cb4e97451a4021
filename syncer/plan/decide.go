package plan

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"nestling.dev/nestling/syncer/resource"
)

// admissionGrace is how long a host object made during admission waits for its
// virtual object: longer than any request to the tenant's API may take (its request
// timeout is 60 s).
const admissionGrace = 90 * time.Second

// Decide is what a kind's virtual and host object need; nil stands for an object
// that is not there.
func Decide(env resource.Env, kind resource.Kind, virtual, host resource.Object) Plan {
	if kind.Direction == resource.FromHost {
		return decideMirror(env, kind, virtual, host)
	}
	if host != nil && !resource.IsOurs(env, kind.Name, host) {
		// Another identity's object, or somebody's who borrowed our labels: never touched.
		if virtual == nil || !kind.Select(env, virtual) {
			return Plan{}
		}
		if !kind.Adopts(env, host) {
			return withAbsence(env, kind, virtual, NameTaken())
		}
	}
	switch {
	case virtual == nil && host == nil:
		return Plan{}
	case virtual == nil:
		if age := env.Now.Sub(host.GetCreationTimestamp().Time); inAdmission(host) && age < admissionGrace {
			return Plan{Wait: "the virtual object may still be in admission", RequeueAfter: admissionGrace - age}
		}
		return deleteOrphan(kind, host)
	case host != nil && !adopted(virtual, host):
		// A namesake that is gone: its host object must go before ours can be made.
		return deleteOrphan(kind, host)
	case host == nil:
		return decideMissing(env, kind, virtual)
	default:
		return decideBoth(env, kind, virtual, host)
	}
}

// NameTaken is the plan for a virtual object whose host name belongs to something
// that is not ours. The engine uses it too, when a create finds the name taken by an
// object that its caches, which see only ours, do not hold.
func NameTaken() Plan {
	return Plan{Event: &Event{
		Type: corev1.EventTypeWarning, Reason: ReasonNameTaken,
		Message: "not synced: on the host, an object that is not this cluster's has the name that this one would get; delete it there, or use another name here",
	}}
}

// adopted reports whether host translates this very virtual object. An object made
// during admission carries no UID yet and belongs to whoever came of that admission.
func adopted(virtual, host resource.Object) bool {
	return inAdmission(host) || types.UID(host.GetAnnotations()[resource.AnnotationUID]) == virtual.GetUID()
}

// inAdmission reports whether host was made while its virtual object was being
// admitted, and no virtual object has come to it yet.
func inAdmission(host resource.Object) bool {
	return host.GetAnnotations()[resource.AnnotationUID] == ""
}

// aheadFor is how long the host object may go on being ahead of the virtual one that is
// known: admission has changed it, and the virtual object is about to be what it says. The
// one that admission knew may itself be newer than that, which comes through another watch.
func aheadFor(env resource.Env, virtual, host resource.Object) time.Duration {
	version, text, _ := strings.Cut(host.GetAnnotations()[resource.AnnotationAdmission], " ")
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return 0
	}
	if newer, err := resourceversion.CompareResourceVersion(virtual.GetResourceVersion(), version); err != nil || newer > 0 {
		return 0
	}
	return admissionGrace - env.Now.Sub(at)
}

func deleteOrphan(kind resource.Kind, host resource.Object) Plan {
	deletion := Action{Side: Host, Verb: Delete, Live: host, Orphan: true, Reason: "virtual object is gone"}
	if kind.Mortal {
		// A virtual object that ends before its host object was force-deleted.
		if grace := host.GetDeletionGracePeriodSeconds(); grace != nil && *grace == 0 {
			return Plan{}
		}
		deletion.GracePeriodSeconds = new(int64(0))
	} else if host.GetDeletionTimestamp() != nil {
		return Plan{}
	}
	return Plan{Actions: []Action{deletion}}
}

func decideMissing(env resource.Env, kind resource.Kind, virtual resource.Object) Plan {
	if virtual.GetDeletionTimestamp() != nil {
		if !kind.Mortal || seconds(virtual.GetDeletionGracePeriodSeconds()) == 0 {
			return Plan{} // finalizers of the tenant's have the word
		}
		return finish(virtual, "host object has ended")
	}
	if !kind.Select(env, virtual) {
		return Plan{}
	}
	if kind.Mortal && !kind.Replacing(virtual) && (kind.Began(virtual) || env.View.Created(virtual.GetUID())) {
		return finish(virtual, "host object is lost")
	}
	if reason := kind.Wait(env, virtual); reason != "" {
		return waiting(env, kind, virtual, reason)
	}
	desired, err := kind.ToHost(env, virtual)
	if err != nil {
		return withAbsence(env, kind, virtual, rejected(err))
	}
	want := stamp(env, kind, virtual, desired)
	return Plan{Actions: []Action{{Side: Host, Verb: Create, Want: want, Reason: "new"}}, Event: notice(env, kind, virtual)}
}

// notice is what the user is told of a translation that leaves something out.
func notice(env resource.Env, kind resource.Kind, virtual resource.Object) *Event {
	if left := kind.Notice(env, virtual); left != nil {
		return rejected(left).Event
	}
	return nil
}

// finish ends a virtual object whose host object is no more.
func finish(virtual resource.Object, reason string) Plan {
	return Plan{Actions: []Action{{
		Side: Virtual, Verb: Delete, Live: virtual, GracePeriodSeconds: new(int64(0)), Reason: reason,
	}}}
}

func decideBoth(env resource.Env, kind resource.Kind, virtual, host resource.Object) Plan {
	if wait := aheadFor(env, virtual, host); wait > 0 {
		return Plan{RequeueAfter: wait} // the next version of the virtual object comes sooner
	}
	if !kind.Select(env, virtual) {
		if host.GetDeletionTimestamp() != nil {
			return Plan{}
		}
		return Plan{Actions: []Action{{Side: Host, Verb: Delete, Live: host, Reason: "no longer needed on the host"}}}
	}
	if kind.Replacing(virtual) && host.GetDeletionTimestamp() != nil && kind.Node(host) == "" && virtual.GetDeletionTimestamp() == nil {
		return Plan{} // it makes room for another, which is no end of the virtual object
	}
	var out Plan
	var ending []Action // of the virtual object: after its last words, as the reason why
	if kind.Mortal {
		deletion := mirrorDeletion(virtual, host)
		if host.GetDeletionTimestamp() != nil && virtual.GetDeletionTimestamp() == nil {
			ending = deletion
		} else {
			out.Actions = deletion
		}
	}
	if host.GetDeletionTimestamp() == nil && (virtual.GetDeletionTimestamp() == nil || !kind.Mortal) {
		updates, replaced, err := updateHost(env, kind, virtual, host)
		if replaced && kind.Mortal {
			return Plan{Actions: updates} // what the host says of this one is of no interest
		}
		switch {
		case err != nil:
			out.Event = rejected(err).Event
		case len(updates) > 0:
			out.Event = notice(env, kind, virtual)
		}
		out.Actions = append(out.Actions, updates...)
	}
	out.Actions = append(out.Actions, updateVirtual(env, kind, virtual, host)...)
	out.Actions = append(out.Actions, ending...)
	return out
}

// mirrorDeletion carries a graceful deletion, or the shortening of one, across.
func mirrorDeletion(virtual, host resource.Object) []Action {
	virtualGrace, hostGrace := virtual.GetDeletionGracePeriodSeconds(), host.GetDeletionGracePeriodSeconds()
	switch {
	case virtual.GetDeletionTimestamp() != nil && (host.GetDeletionTimestamp() == nil ||
		seconds(virtualGrace) < seconds(hostGrace)):
		return []Action{{Side: Host, Verb: Delete, Live: host, GracePeriodSeconds: virtualGrace, Reason: "virtual object is being deleted"}}
	case host.GetDeletionTimestamp() != nil && virtual.GetDeletionTimestamp() == nil:
		return []Action{{Side: Virtual, Verb: Delete, Live: virtual, GracePeriodSeconds: hostGrace, Reason: "host object is being deleted"}}
	}
	return nil
}

func updateHost(env resource.Env, kind resource.Kind, virtual, host resource.Object) (updates []Action, replaced bool, err error) {
	desired, err := kind.ToHost(env, virtual)
	if err != nil {
		return nil, false, err
	}
	desired = stamp(env, kind, virtual, desired)
	if kind.Replace(desired, host) {
		return replace(env, kind, virtual, host), true, nil
	}
	// Kinds see the live metadata as it was written last, which some read as a record.
	want := kind.MergeHost(env, desired, clone(host))
	resource.MergeMeta(desired, want)
	if equality.Semantic.DeepEqual(host, want) {
		return nil, false, nil
	}
	var out []Action
	live := host
	for _, part := range kind.HostParts(host, want) {
		if equality.Semantic.DeepEqual(live, part.Want) {
			continue
		}
		out = append(out, Action{Side: Host, Verb: Patch, Subresource: part.Subresource, Live: live, Want: part.Want, Reason: "virtual object differs"})
		live = part.Want
	}
	return out, false, nil
}

// replace takes the host object away, for another in its place. Where one that is gone is
// taken for lost, the virtual object says first what is going on; and only the host object
// that was looked at may go, since the host may have begun with it in the meantime.
func replace(env resource.Env, kind resource.Kind, virtual, host resource.Object) []Action {
	const reason = "can't be changed in place"
	if !kind.Mortal || kind.Replacing(virtual) {
		return []Action{{Side: Host, Verb: Delete, Live: host, Exact: kind.Mortal, Reason: reason}}
	}
	want := kind.Absent(env, clone(virtual), resource.ReasonReplacing, "its host object can't be changed in place, and is made anew")
	return []Action{{Side: Virtual, Verb: Patch, Subresource: "status", Live: virtual, Want: want, Reason: "host object " + reason}}
}

func updateVirtual(env resource.Env, kind resource.Kind, virtual, host resource.Object) []Action {
	var out []Action
	if node := kind.Node(host); node != "" && kind.Node(virtual) == "" && virtual.GetDeletionTimestamp() == nil {
		out = append(out, Action{Side: Virtual, Verb: Bind, Live: virtual, Node: node, Reason: "host object is bound"})
	}
	want := kind.MergeVirtual(env, clone(virtual), host)
	if equality.Semantic.DeepEqual(virtual, want) {
		return out
	}
	if kind.HasStatus {
		// Spec and status are written apart: each write ignores the other's part.
		spec := clone(want)
		copyStatus(virtual, spec)
		if !equality.Semantic.DeepEqual(virtual, spec) {
			out = append(out, Action{Side: Virtual, Verb: Patch, Live: virtual, Want: spec, Reason: "host side differs"})
		}
		if !equality.Semantic.DeepEqual(spec, want) {
			out = append(out, Action{Side: Virtual, Verb: Patch, Subresource: "status", Live: spec, Want: want, Reason: "host status differs"})
		}
		return out
	}
	return append(out, Action{Side: Virtual, Verb: Patch, Live: virtual, Want: want, Reason: "host side differs"})
}

func decideMirror(env resource.Env, kind resource.Kind, virtual, host resource.Object) Plan {
	mine := virtual != nil && virtual.GetAnnotations()[resource.AnnotationMirror] != ""
	if host == nil || !kind.Select(env, host) {
		if !mine {
			return Plan{}
		}
		return letGo(kind, virtual, "host object is gone")
	}
	desired, err := kind.ToVirtual(env, host)
	if err != nil {
		return rejected(err)
	}
	annotations := map[string]string{resource.AnnotationMirror: "true"}
	for key, value := range desired.GetAnnotations() {
		annotations[key] = value
	}
	desired.SetAnnotations(annotations)
	if virtual == nil {
		out := Plan{Actions: []Action{{Side: Virtual, Verb: Create, Want: desired, Reason: "mirror of a new host object"}}}
		return out
	}
	if !mine {
		return Plan{} // the tenant's own object of that name
	}
	if kind.Replace(desired, virtual) {
		return letGo(kind, virtual, "can't be changed in place")
	}
	return Plan{Actions: updateVirtual(env, kind, virtual, desired)}
}

// letGo is the end of a mirror. The virtual cluster may hold it as if it protected
// something, which is the host's to do.
func letGo(kind resource.Kind, mirror resource.Object, reason string) Plan {
	if mirror.GetDeletionTimestamp() == nil {
		return Plan{Actions: []Action{{Side: Virtual, Verb: Delete, Live: mirror, Reason: reason}}}
	}
	want := clone(mirror)
	want.SetFinalizers(slices.DeleteFunc(want.GetFinalizers(), func(name string) bool { return slices.Contains(kind.Finalizers, name) }))
	if len(want.GetFinalizers()) == len(mirror.GetFinalizers()) {
		return Plan{}
	}
	return Plan{Actions: []Action{{Side: Virtual, Verb: Patch, Live: mirror, Want: want, Reason: "it is held for nothing"}}}
}

// stamp marks a translation as ours.
func stamp(env resource.Env, kind resource.Kind, virtual, desired resource.Object) resource.Object {
	if kind.Outlives {
		env.Owner = metav1.OwnerReference{}
	}
	return resource.Stamp(env, kind.Name, virtual, desired)
}

// Stamped is a translation with the marks that it gets when it is written.
func Stamped(env resource.Env, kind resource.Kind, virtual, desired resource.Object) resource.Object {
	return stamp(env, kind, virtual, desired)
}

// rejected is the plan for an object that can't be translated: its user is told.
func rejected(err error) Plan {
	reason, message := "SyncFailed", err.Error()
	var rejection *resource.Rejection
	if errors.As(err, &rejection) {
		reason, message = rejection.Reason, rejection.Message
	}
	return Plan{Event: &Event{Type: corev1.EventTypeWarning, Reason: reason, Message: message}}
}

func seconds(grace *int64) int64 {
	if grace == nil {
		return 0
	}
	return *grace
}

func clone(object resource.Object) resource.Object {
	return object.DeepCopyObject().(resource.Object)
}

// copyStatus sets to's status to from's, by the field that every Kubernetes type
// with a status subresource has.
func copyStatus(from, to resource.Object) {
	if custom, ok := to.(*unstructured.Unstructured); ok {
		if status, ok := from.(*unstructured.Unstructured).Object["status"]; ok {
			custom.Object["status"] = status
		} else {
			delete(custom.Object, "status")
		}
		return
	}
	source := reflect.ValueOf(from).Elem().FieldByName("Status")
	target := reflect.ValueOf(to).Elem().FieldByName("Status")
	if source.IsValid() && target.IsValid() {
		target.Set(source)
	}
}
