package resources

import (
	"maps"

	networkingv1 "k8s.io/api/networking/v1"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
)

// legacyClass is the annotation by which Ingresses named their class before spec.ingressClassName.
const legacyClass = "kubernetes.io/ingress.class"

// ingressWrote is the class that was written last, so that one that the host has chosen by
// its own default is told from it.
const ingressWrote = resource.Prefix + "ingress-class"

// Ingresses go to the host, whose controllers serve them. Their backends, Secrets, and
// what annotations of known controllers name are the tenant's objects of those names;
// Secrets that they name go with them.
//
// An Ingress of a class that the tenant has made itself stays: a controller in the tenant
// serves it.
func Ingresses() resource.Kind {
	return resource.Spec[*networkingv1.Ingress]{
		Resource:   networkingv1.SchemeGroupVersion.WithResource("ingresses"),
		Kind:       "Ingress",
		Namespaced: true,
		Direction:  resource.ToHost,
		About: resource.About{
			Virtual: "everything but status",
			Host:    "status; the class of one that names none",
			Default: "all but those of the tenant's own classes",
		},
		New:       func() *networkingv1.Ingress { return &networkingv1.Ingress{} },
		Reasons:   ingressReasons(),
		Pending:   ingressPending,
		Select:    selectIngress,
		Refs:      ingressRefs,
		ToHost:    ingressToHost,
		MergeHost: mergeHostIngress,
		MergeVirtual: func(_ resource.Env, virtual, host *networkingv1.Ingress) *networkingv1.Ingress {
			out := *virtual
			out.Status = host.Status
			return &out
		},
		Words: ingressWords,
	}.Erase()
}

// ingressClass is the class that an Ingress names, in either way.
func ingressClass(ingress *networkingv1.Ingress) string {
	if ingress.Spec.IngressClassName != nil {
		return *ingress.Spec.IngressClassName
	}
	return ingress.Annotations[legacyClass]
}

func selectIngress(env resource.Env, virtual *networkingv1.Ingress) bool {
	class := env.View.Virtual("ingressclasses", resource.Key{Name: ingressClass(virtual)})
	return class == nil || class.GetAnnotations()[resource.AnnotationMirror] != ""
}

func ingressRefs(virtual *networkingv1.Ingress) []resource.Ref {
	var refs []resource.Ref
	seen := map[resource.Ref]bool{}
	add := func(ref resource.Ref) {
		if !seen[ref] {
			seen[ref] = true
			refs = append(refs, ref)
		}
	}
	if class := ingressClass(virtual); class != "" {
		add(resource.Ref{Resource: "ingressclasses", Key: resource.Key{Name: class}})
	}
	forEachIngressName(virtual.DeepCopy(), func(plural string, name *string) {
		if plural == "secrets" { // Services are on the host anyway
			add(resource.Ref{Resource: plural, Key: resource.Key{Namespace: virtual.Namespace, Name: *name}})
		}
	})
	for _, ref := range ingressAnnotationRefs(virtual.Namespace, virtual.Annotations) {
		add(ref)
	}
	return refs
}

// forEachIngressName calls visit with every place of an Ingress's spec that names an
// object of its namespace, and the plural of that object's kind; "" if it is any.
func forEachIngressName(ingress *networkingv1.Ingress, visit func(plural string, name *string)) {
	backend := func(backend *networkingv1.IngressBackend) {
		if backend.Service != nil {
			visit("services", &backend.Service.Name)
		}
		if backend.Resource != nil {
			visit("", &backend.Resource.Name)
		}
	}
	if ingress.Spec.DefaultBackend != nil {
		backend(ingress.Spec.DefaultBackend)
	}
	for i := range ingress.Spec.Rules {
		if http := ingress.Spec.Rules[i].HTTP; http != nil {
			for j := range http.Paths {
				backend(&http.Paths[j].Backend)
			}
		}
	}
	for i := range ingress.Spec.TLS {
		if name := &ingress.Spec.TLS[i].SecretName; *name != "" { // empty is the controller's default
			visit("secrets", name)
		}
	}
}

func ingressToHost(env resource.Env, virtual *networkingv1.Ingress) (*networkingv1.Ingress, error) {
	host := &networkingv1.Ingress{ObjectMeta: resource.HostMeta(env, virtual), Spec: *virtual.Spec.DeepCopy()}
	forEachIngressName(host, func(_ string, name *string) {
		*name = naming.Host(env.Tenant, virtual.Namespace, *name)
	})
	annotations := ingressAnnotations(env, virtual.Namespace, host.Annotations)
	if class := virtual.Spec.IngressClassName; class != nil {
		annotations = maps.Clone(annotations)
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[ingressWrote] = *class
	}
	host.Annotations = annotations
	return host, nil
}

// mergeHostIngress keeps the class that the host has chosen for an Ingress that never
// named one.
func mergeHostIngress(_ resource.Env, desired, live *networkingv1.Ingress) *networkingv1.Ingress {
	out := *live
	out.Spec = desired.Spec
	if _, wrote := live.Annotations[ingressWrote]; !wrote && desired.Spec.IngressClassName == nil {
		out.Spec.IngressClassName = live.Spec.IngressClassName
	}
	if desired.Spec.IngressClassName == nil {
		out.Annotations = maps.Clone(live.Annotations)
		delete(out.Annotations, ingressWrote)
	}
	return &out
}
