package resources

import (
	corev1 "k8s.io/api/core/v1"

	"nestling.dev/nestling/syncer/resource"
)

// Namespaces stay virtual: all of a tenant's objects live in one host namespace.
// Other kinds read their labels.
func Namespaces() resource.Kind {
	return resource.Spec[*corev1.Namespace]{
		Resource:  corev1.SchemeGroupVersion.WithResource("namespaces"),
		Kind:      "Namespace",
		Direction: resource.ReadOnly,
		About: resource.About{
			Virtual: "everything; host pods carry their namespace's labels, for selectors",
			Host:    "nothing",
			Default: "none: all that a tenant has is in one host namespace",
		},
		New: func() *corev1.Namespace { return &corev1.Namespace{} },
	}.Erase()
}
