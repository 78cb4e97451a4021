package resources

import (
	networkingv1 "k8s.io/api/networking/v1"

	"nestling.dev/nestling/syncer/resource"
)

// IngressClasses mirror the host's: an Ingress that names one is served by the host's
// controller. A class that the tenant has made itself is the tenant's: what names it is
// served by a controller in the tenant.
func IngressClasses() resource.Kind {
	return resource.Spec[*networkingv1.IngressClass]{
		Resource:  networkingv1.SchemeGroupVersion.WithResource("ingressclasses"),
		Kind:      "IngressClass",
		Direction: resource.FromHost,
		Optional:  true,
		NoStatus:  true,
		Yields:    true, // as default
		About: resource.About{
			Virtual: "the tenant's own classes: Ingresses that name one stay here",
			Host:    "everything; yields as default to one of the tenant's own",
			Default: "all of the host",
		},
		New:       func() *networkingv1.IngressClass { return &networkingv1.IngressClass{} },
		ToVirtual: ingressClassToVirtual,
		MergeVirtual: func(_ resource.Env, virtual, host *networkingv1.IngressClass) *networkingv1.IngressClass {
			out := *virtual
			out.Labels, out.Spec.Parameters = host.Labels, host.Spec.Parameters
			out.Annotations = withDefaultClass(virtual.Annotations, host.Annotations[networkingv1.AnnotationIsDefaultIngressClass])
			return &out
		},
		Replace: func(desired, live *networkingv1.IngressClass) bool {
			return desired.Spec.Controller != live.Spec.Controller
		},
	}.Erase()
}

func ingressClassToVirtual(env resource.Env, host *networkingv1.IngressClass) (*networkingv1.IngressClass, error) {
	out := &networkingv1.IngressClass{
		ObjectMeta: mirrorMeta(host),
		Spec:       networkingv1.IngressClassSpec{Controller: host.Spec.Controller},
	}
	if !hasOwnDefaultClass(env) {
		// Of two defaults the API server takes the newer one.
		out.Annotations = withDefaultClass(nil, host.Annotations[networkingv1.AnnotationIsDefaultIngressClass])
	}
	if parameters := host.Spec.Parameters; parameters != nil && parameters.Namespace == nil {
		out.Spec.Parameters = parameters // others name a namespace of the host's
	}
	return out, nil
}

// withDefaultClass is annotations with that of default classes set to value, or without it.
func withDefaultClass(annotations map[string]string, value string) map[string]string {
	if annotations[networkingv1.AnnotationIsDefaultIngressClass] == value {
		return annotations
	}
	out := map[string]string{}
	for key, other := range annotations {
		out[key] = other
	}
	out[networkingv1.AnnotationIsDefaultIngressClass] = value
	if value == "" {
		delete(out, networkingv1.AnnotationIsDefaultIngressClass)
	}
	return out
}

// hasOwnDefaultClass reports whether a class of the tenant's own is the default.
func hasOwnDefaultClass(env resource.Env) bool {
	for _, class := range env.View.VirtualList("ingressclasses", "") {
		annotations := class.GetAnnotations()
		if annotations[resource.AnnotationMirror] == "" && annotations[networkingv1.AnnotationIsDefaultIngressClass] == "true" {
			return true
		}
	}
	return false
}
