package resource

import (
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/syncer/naming"
)

// Prefix is the label and annotation prefix that belongs to Nestling: tenants'
// keys under it never reach the host.
const Prefix = "nestling.dev/"

// Labels of every host object.
const (
	LabelTenant    = Prefix + "tenant"
	LabelNamespace = Prefix + "namespace" // the virtual namespace, hashed if over 63 bytes
)

// LabelControlPlane has the tenant's name on the pod and the other objects of its control
// plane, which no pod of a tenant can carry.
const LabelControlPlane = Prefix + "control-plane"

// Annotations of every host object: the way back from host to virtual.
const (
	AnnotationNamespace = Prefix + "namespace"
	AnnotationName      = Prefix + "name"
	AnnotationUID       = Prefix + "uid"
	AnnotationKind      = Prefix + "kind"
	AnnotationIdentity  = Prefix + "identity" // UID of the virtual kube-system namespace
	// AnnotationCopied lists the label and annotation keys that were copied from the
	// virtual object, so that one that it loses is removed while keys that others
	// set on the host survive.
	AnnotationCopied = Prefix + "copied"
	// AnnotationAdmission says that a change of the virtual object, which is being admitted,
	// has been made on the host already: the resource version that the virtual object had
	// before it, a blank, and the time (RFC 3339).
	AnnotationAdmission = Prefix + "admission"
	// AnnotationMirror marks a virtual object that was made from a host object.
	AnnotationMirror = Prefix + "mirror"
	// AnnotationSync on a virtual ConfigMap or Secret asks for it to be synced though
	// no pod refers to it.
	AnnotationSync = Prefix + "sync"
)

// HostMeta is the metadata with which a virtual object's translation starts: its
// host name and namespace, and copies of the labels and annotations that may go.
func HostMeta(env Env, virtual Object) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name:        naming.Host(env.Tenant, virtual.GetNamespace(), virtual.GetName()),
		Namespace:   env.HostNamespace,
		Labels:      foreign(virtual.GetLabels()),
		Annotations: foreign(virtual.GetAnnotations()),
	}
}

// HostLabels are the labels that tell a tenant's host objects of one virtual
// namespace. Every selector that reaches the host is ANDed with them.
func HostLabels(env Env, namespace string) map[string]string {
	return map[string]string{LabelTenant: env.Tenant, LabelNamespace: naming.LabelValue(namespace)}
}

// Stamp returns desired, a translation of virtual, with the labels, annotations and
// owner that make it ours. It changes and returns the same object.
func Stamp[T Object](env Env, kind string, virtual Object, desired T) T {
	copied := copiedKeys(desired)
	labels := maps.Clone(desired.GetLabels())
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, HostLabels(env, virtual.GetNamespace()))
	annotations := maps.Clone(desired.GetAnnotations())
	if annotations == nil {
		annotations = map[string]string{}
	}
	maps.Copy(annotations, map[string]string{
		AnnotationNamespace: virtual.GetNamespace(),
		AnnotationName:      virtual.GetName(),
		AnnotationKind:      kind,
		AnnotationIdentity:  env.Identity,
	})
	if uid := virtual.GetUID(); uid != "" { // unknown yet while the virtual object is in admission
		annotations[AnnotationUID] = string(uid)
	}
	if copied != "" {
		annotations[AnnotationCopied] = copied
	}
	desired.SetLabels(labels)
	desired.SetAnnotations(annotations)
	if env.Owner.UID != "" {
		owner := env.Owner
		if metav1.GetControllerOf(virtual) != nil {
			// It is made again when it goes: so the host's drains, too, need not be forced.
			owner.Controller = new(true)
		}
		desired.SetOwnerReferences([]metav1.OwnerReference{owner})
	}
	return desired
}

// MergeMeta lays the labels, annotations and owner of desired over those of live:
// keys that were copied once and are desired no more go, keys of others stay.
func MergeMeta(desired, live Object) {
	labels, annotations := maps.Clone(live.GetLabels()), maps.Clone(live.GetAnnotations())
	for key := range strings.SplitSeq(annotations[AnnotationCopied], ",") {
		if kind, name, ok := strings.Cut(key, ":"); ok && kind == "l" {
			delete(labels, name)
		} else if ok {
			delete(annotations, name)
		}
	}
	delete(annotations, AnnotationCopied)
	live.SetLabels(merged(labels, desired.GetLabels()))
	live.SetAnnotations(merged(annotations, desired.GetAnnotations()))
	owners := slices.Clone(live.GetOwnerReferences())
	for _, owner := range desired.GetOwnerReferences() {
		if controller := metav1.GetControllerOf(live); controller != nil && controller.UID != owner.UID {
			owner.Controller = nil // there can be one
		}
		if i := slices.IndexFunc(owners, func(o metav1.OwnerReference) bool { return o.UID == owner.UID }); i >= 0 {
			owners[i] = owner
		} else {
			owners = append(owners, owner)
		}
	}
	live.SetOwnerReferences(owners)
}

// IsOurs reports whether host is the translation of an object of kind in this very
// virtual cluster. The identity says so, which no other tenant has; labels may have
// been taken off, and are then put back.
func IsOurs(env Env, kind string, host Object) bool {
	annotations := host.GetAnnotations()
	return annotations[AnnotationIdentity] == env.Identity && annotations[AnnotationKind] == kind
}

// VirtualKey is the way back: the key of the virtual object that host translates.
// It is false for an object without our annotations.
func VirtualKey(host Object) (Key, bool) {
	annotations := host.GetAnnotations()
	name, ok := annotations[AnnotationName]
	return Key{Namespace: annotations[AnnotationNamespace], Name: name}, ok
}

func merged(base, over map[string]string) map[string]string {
	if base == nil && len(over) > 0 {
		base = map[string]string{}
	}
	maps.Copy(base, over)
	return base
}

// foreign copies the keys that tenants may hand to the host.
func foreign(keys map[string]string) map[string]string {
	if len(keys) == 0 {
		return nil
	}
	out := make(map[string]string, len(keys))
	for key, value := range keys {
		if !strings.HasPrefix(key, Prefix) && key != "kubectl.kubernetes.io/last-applied-configuration" {
			out[key] = value
		}
	}
	return out
}

func copiedKeys(desired Object) string {
	var keys []string
	for key := range foreign(desired.GetLabels()) {
		keys = append(keys, "l:"+key)
	}
	for key := range foreign(desired.GetAnnotations()) {
		keys = append(keys, "a:"+key)
	}
	slices.Sort(keys)
	return strings.Join(keys, ",")
}
