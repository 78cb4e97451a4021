package resources

import (
	networkingv1 "k8s.io/api/networking/v1"

	"nestling.dev/nestling/syncer/resource"
)

// ingressWords is what the host says about an Ingress, in the tenant's words: the names of
// it and of all that it names are replaced.
func ingressWords(env resource.Env, virtual *networkingv1.Ingress, text string) string {
	objects := []resource.Key{resource.KeyOf(virtual)}
	forEachIngressName(virtual.DeepCopy(), func(_ string, name *string) {
		objects = append(objects, resource.Key{Namespace: virtual.Namespace, Name: *name})
	})
	for _, ref := range ingressAnnotationRefs(virtual.Namespace, virtual.Annotations) {
		objects = append(objects, ref.Key)
	}
	return resource.VirtualText(env, virtual.Namespace, resource.NamesOf(env, objects...), text)
}
