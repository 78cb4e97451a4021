package resources

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
)

const (
	// eventAge is how old a host event may be to be shown: a restart need not read again
	// all that the host keeps (an hour's, by default), which it has shown already.
	eventAge = 10 * time.Minute
	// maxMessageLength is that of events of the newer API, in bytes (NoteLengthLimit);
	// names here may be longer than on the host.
	maxMessageLength = 1024
	// kubeletComponent reports from the pod's own node, which the tenant knows.
	kubeletComponent = "kubelet"
	// maxNameLength is that of a DNS-1123 subdomain, in bytes.
	maxNameLength = 253
)

// Events that the host tells about our host objects are told about their virtual
// objects, in the tenant's words. Those about anything else stay where they are.
// They end by themselves, so the virtual side needs no cache of them.
func Events() resource.Kind {
	return resource.Spec[*corev1.Event]{
		Resource:   corev1.SchemeGroupVersion.WithResource("events"),
		Kind:       "Event",
		Namespaced: true,
		Direction:  resource.FromHost,
		Unsynced:   true,
		NoStatus:   true,
		About: resource.About{
			Virtual: "nothing; the tenant's own events stay here",
			Host:    "everything; names become the tenant's",
			Default: "those of synced objects; not those of nodes, which hosts keep in a namespace of their own",
		},
		New: func() *corev1.Event { return &corev1.Event{} },
		Select: func(env resource.Env, host *corev1.Event) bool {
			// Of budgets, the virtual cluster's own controller tells the same.
			return env.Now.Sub(eventTime(host)) < eventAge && host.InvolvedObject.Kind != "PodDisruptionBudget"
		},
		ToVirtual:  eventToVirtual,
		VirtualKey: eventKey,
		MergeVirtual: func(_ resource.Env, virtual, host *corev1.Event) *corev1.Event {
			out := *virtual
			out.Type, out.Message = host.Type, host.Message
			out.Count, out.Series = host.Count, host.Series
			out.FirstTimestamp, out.LastTimestamp = host.FirstTimestamp, host.LastTimestamp
			return &out
		},
	}.Erase()
}

// eventTime is when an event was seen last.
func eventTime(event *corev1.Event) time.Time {
	out := event.CreationTimestamp.Time
	for _, at := range []time.Time{event.FirstTimestamp.Time, event.LastTimestamp.Time, event.EventTime.Time} {
		if at.After(out) {
			out = at
		}
	}
	if event.Series != nil && event.Series.LastObservedTime.After(out) {
		out = event.Series.LastObservedTime.Time
	}
	return out
}

// eventKey is the virtual event's: named after the virtual object, with the suffix that
// the host event's recorder chose.
func eventKey(env resource.Env, host *corev1.Event) (resource.Key, bool) {
	object, ok := virtualReference(env, host.InvolvedObject)
	if !ok || injected(env, object) {
		return resource.Key{}, false
	}
	suffix, ok := strings.CutPrefix(host.Name, host.InvolvedObject.Name)
	if !ok {
		suffix = "." + host.Name // some recorders name events without their object
	}
	name := object.Name
	if room := max(0, maxNameLength-len(suffix)); len(name) > room {
		name = strings.TrimRight(name[:room], "-.")
	}
	if name += suffix; len(name) > maxNameLength {
		name = name[len(name)-maxNameLength:]
	}
	return resource.Key{Namespace: object.Namespace, Name: strings.TrimLeft(name, "-.")}, true
}

func eventToVirtual(env resource.Env, host *corev1.Event) (*corev1.Event, error) {
	object, ok := virtualReference(env, host.InvolvedObject)
	key, mapped := eventKey(env, host)
	if !ok || !mapped {
		return nil, resource.Rejectf("NotOurs", "the event is about no object of this cluster")
	}
	virtual := *host
	// Labels and annotations of an event are its recorder's own, and may name host objects.
	virtual.ObjectMeta = metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}
	virtual.InvolvedObject = object
	virtual.Message = eventMessage(env, object, preemption(env, host.Message))
	if !host.EventTime.IsZero() && len(virtual.Message) > maxMessageLength {
		virtual.Message = strings.ToValidUTF8(virtual.Message[:maxMessageLength], "")
	}
	if virtual.ReportingInstance != "" && virtual.ReportingController != kubeletComponent {
		virtual.ReportingInstance = virtual.ReportingController // names a machine of the host's control plane
	}
	virtual.Related = nil
	if host.Related != nil {
		if related, ok := virtualReference(env, *host.Related); ok {
			virtual.Related = &related
		}
	}
	return &virtual, nil
}

// virtualReference is the virtual object that a reference to a host object stands for.
// It is false for whatever this cluster does not know.
func virtualReference(env resource.Env, host corev1.ObjectReference) (corev1.ObjectReference, bool) {
	if host.Namespace != env.HostNamespace || host.Kind == "" || host.Name == "" {
		return corev1.ObjectReference{}, false
	}
	object := env.View.Host(plural(host), host.Name)
	if object == nil {
		_, object = env.View.Departed(plural(host), host.Name)
	}
	if object == nil || !resource.IsOurs(env, host.Kind, object) || host.UID != "" && host.UID != object.GetUID() {
		return corev1.ObjectReference{}, false
	}
	key, ok := resource.VirtualKey(object)
	return corev1.ObjectReference{
		APIVersion: host.APIVersion, Kind: host.Kind, Namespace: key.Namespace, Name: key.Name,
		UID:       types.UID(object.GetAnnotations()[resource.AnnotationUID]),
		FieldPath: host.FieldPath,
	}, ok
}

func plural(reference corev1.ObjectReference) string {
	plural, _ := meta.UnsafeGuessKindToResource(schema.FromAPIVersionAndKind(reference.APIVersion, reference.Kind))
	return plural.Resource
}

// injected reports whether an event is about a container that the host has put into
// the pod, which the tenant does not see.
func injected(env resource.Env, object corev1.ObjectReference) bool {
	_, name, ok := strings.Cut(object.FieldPath, "{")
	if object.Kind != "Pod" || !ok {
		return false
	}
	pod, ok := virtualPod(env, object)
	if !ok {
		return false
	}
	name = strings.TrimSuffix(name, "}")
	found := false
	forEachContainer(&pod.Spec, func(container *corev1.Container) { found = found || container.Name == name })
	return !found
}

// eventMessage is a host event's message in the tenant's words.
func eventMessage(env resource.Env, object corev1.ObjectReference, message string) string {
	key := resource.Key{Namespace: object.Namespace, Name: object.Name}
	switch object.Kind {
	case "Pod":
		if pod, ok := virtualPod(env, object); ok {
			return VirtualText(env, pod, message)
		}
	case "Ingress":
		if ingress, ok := env.View.Virtual("ingresses", key).(*networkingv1.Ingress); ok {
			return ingressWords(env, ingress, message)
		}
	}
	// One that names no others, or that is gone already: only its own name can be known.
	return VirtualText(env, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: object.Namespace, Name: object.Name, UID: object.UID}}, message)
}

// virtualPod is the virtual pod of a reference: the one that is there, which may be a
// namesake's successor with much the same names, or what is remembered of one that left.
func virtualPod(env resource.Env, object corev1.ObjectReference) (*corev1.Pod, bool) {
	key := resource.Key{Namespace: object.Namespace, Name: object.Name}
	if pod, ok := env.View.Virtual("pods", key).(*corev1.Pod); ok {
		return pod, true
	}
	virtual, _ := env.View.Departed("pods", naming.Host(env.Tenant, key.Namespace, key.Name))
	pod, ok := virtual.(*corev1.Pod)
	return pod, ok
}
