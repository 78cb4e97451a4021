package resources

import (
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"nestling.dev/nestling/syncer/naming"
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
	return objectText(env, virtual.Namespace, objects, text)
}

// objectText is a message of the host's with the names of objects, and of the host
// namespace, replaced by the tenant's.
func objectText(env resource.Env, namespace string, objects []resource.Key, text string) string {
	var pairs []string
	for _, object := range objects {
		host := naming.Host(env.Tenant, object.Namespace, object.Name)
		pairs = append(pairs, env.HostNamespace+"/"+host, object.Namespace+"/"+object.Name, host, object.Name)
	}
	text = strings.NewReplacer(pairs...).Replace(text)
	return replaceWord(text, env.HostNamespace, namespace, isNamespace)
}
