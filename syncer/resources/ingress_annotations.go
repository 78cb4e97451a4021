package resources

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
)

// form is how an annotation's value names objects.
type form int

const (
	// oneName is "name" or "namespace/name".
	oneName form = iota
	// manyNames are such names by commas.
	manyNames
	// assignedNames are parts like "serviceName=name", by blanks and semicolons.
	assignedNames
	// traefikNames are "namespace-name@kubernetescrd" by commas. What has another provider
	// is in the operator's own files.
	traefikNames
	// serviceURL may have a Service's name in the place of the host.
	serviceURL
	// foreign names a namespace of the host's, in a way that the tenant can't have: left out.
	foreignName
)

// annotated is what an annotation names: objects of a kind, by plural, in a form.
type annotated struct {
	plural string
	form   form
}

// ingressNames are the annotations of known controllers that name objects. Those of
// cert-manager stay as they are: issuers of the host's serve the host's Ingresses.
// Annotations that it does not know go to the host as the tenant wrote them.
func ingressNames() map[string]annotated {
	out := map[string]annotated{
		// nginx, https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/
		"nginx.ingress.kubernetes.io/auth-secret":              {"secrets", oneName},
		"nginx.ingress.kubernetes.io/auth-tls-secret":          {"secrets", oneName},
		"nginx.ingress.kubernetes.io/proxy-ssl-secret":         {"secrets", oneName},
		"nginx.ingress.kubernetes.io/auth-proxy-set-headers":   {"configmaps", oneName},
		"nginx.ingress.kubernetes.io/custom-headers":           {"configmaps", oneName},
		"nginx.ingress.kubernetes.io/fastcgi-params-configmap": {"configmaps", oneName},
		"nginx.ingress.kubernetes.io/default-backend":          {"services", oneName},
		"nginx.ingress.kubernetes.io/auth-url":                 {"services", serviceURL},
		"nginx.ingress.kubernetes.io/mirror-target":            {"services", serviceURL},
		// F5's, https://docs.nginx.com/nginx-ingress-controller/configuration/ingress-resources/advanced-configuration-with-annotations/
		"nginx.org/basic-auth-secret":            {"secrets", oneName},
		"nginx.com/jwt-key":                      {"secrets", oneName},
		"nginx.org/websocket-services":           {"services", manyNames},
		"nginx.org/grpc-services":                {"services", manyNames},
		"nginx.org/ssl-services":                 {"services", manyNames},
		"nginx.org/rewrites":                     {"services", assignedNames},
		"nginx.com/sticky-cookie-services":       {"services", assignedNames},
		"nginx.org/policies":                     {"policies", manyNames},
		"appprotect.f5.com/app-protect-policy":   {"appolicies", oneName},
		"appprotect.f5.com/app-protect-log-conf": {"aplogconfs", manyNames},
		// Traefik, https://doc.traefik.io/traefik/reference/routing-configuration/kubernetes/ingress/
		"traefik.ingress.kubernetes.io/router.middlewares":       {"middlewares", traefikNames},
		"traefik.ingress.kubernetes.io/router.tls.options":       {"tlsoptions", traefikNames},
		"traefik.ingress.kubernetes.io/service.serverstransport": {"serverstransports", traefikNames},
		"traefik.ingress.kubernetes.io/auth-secret":              {"secrets", oneName},
		// HAProxy Technologies', https://www.haproxy.com/documentation/kubernetes-ingress/
		"haproxy.org/auth-secret": {"secrets", oneName},
		"haproxy.org/client-ca":   {"secrets", oneName},
		"haproxy.org/server-ca":   {"secrets", oneName},
		"haproxy.org/server-crt":  {"secrets", oneName},
		"haproxy.org/cr-backend":  {"backends", oneName},
		// Kong, https://developer.konghq.com/kubernetes-ingress-controller/reference/annotations/
		"konghq.com/plugins":     {"kongplugins", manyNames},
		"konghq.com/override":    {"kongingresses", oneName},
		"konghq.com/client-cert": {"secrets", oneName},
		// Contour
		"projectcontour.io/tls-cert-namespace": {"", foreignName},
		// GKE
		"networking.gke.io/managed-certificates":   {"managedcertificates", manyNames},
		"networking.gke.io/v1beta1.FrontendConfig": {"frontendconfigs", oneName},
	}
	// HAProxy Ingress, under its present and its former prefix, https://haproxy-ingress.github.io/docs/configuration/keys/
	for _, prefix := range []string{"haproxy-ingress.github.io/", "ingress.kubernetes.io/"} {
		for _, key := range []string{"auth-secret", "auth-tls-secret", "secure-crt-secret", "secure-verify-ca-secret"} {
			out[prefix+key] = annotated{"secrets", oneName}
		}
	}
	return out
}

// ingressAnnotations are annotations with the names of the host's objects.
func ingressAnnotations(env resource.Env, namespace string, virtual map[string]string) map[string]string {
	if len(virtual) == 0 {
		return nil
	}
	out := maps.Clone(virtual)
	for key, names := range ingressNames() {
		value, ok := virtual[key]
		if !ok {
			continue
		}
		if names.form == foreignName {
			delete(out, key)
			continue
		}
		out[key] = visitNames(env, names.form, namespace, value, func(object resource.Key, qualified bool) string {
			host := naming.Host(env.Tenant, object.Namespace, object.Name)
			if qualified {
				return env.HostNamespace + "/" + host
			}
			return host
		})
	}
	return out
}

// ingressAnnotationRefs are the objects that annotations name.
func ingressAnnotationRefs(namespace string, annotations map[string]string) []resource.Ref {
	if len(annotations) == 0 {
		return nil
	}
	var refs []resource.Ref
	for key, names := range ingressNames() {
		if value, ok := annotations[key]; ok && names.form == oneName {
			visitNames(resource.Env{}, names.form, namespace, value, func(object resource.Key, _ bool) string {
				refs = append(refs, resource.Ref{Resource: names.plural, Key: object})
				return ""
			})
		}
	}
	slices.SortFunc(refs, func(a, b resource.Ref) int {
		return strings.Compare(a.Resource+a.Namespace+"/"+a.Name, b.Resource+b.Namespace+"/"+b.Name)
	})
	return refs
}

// visitNames is value with every object that it names, from a namespace, replaced by what
// visit makes of it; qualified tells that the namespace was written, too.
func visitNames(env resource.Env, form form, namespace, value string, visit func(object resource.Key, qualified bool) string) string {
	name := func(text string) string {
		trimmed := strings.TrimSpace(text)
		if trimmed == "" {
			return text
		}
		if space, rest, ok := strings.Cut(trimmed, "/"); ok {
			return visit(resource.Key{Namespace: space, Name: rest}, true)
		}
		return visit(resource.Key{Namespace: namespace, Name: trimmed}, false)
	}
	each := func(separator string, change func(string) string) string {
		parts := strings.Split(value, separator)
		for i := range parts {
			parts[i] = change(parts[i])
		}
		return strings.Join(parts, separator)
	}
	switch form {
	case manyNames:
		return each(",", name)
	case assignedNames:
		return each(";", func(part string) string {
			words := strings.Fields(part)
			for i, word := range words {
				if key, assigned, ok := strings.Cut(word, "="); ok && key == "serviceName" {
					words[i] = key + "=" + name(assigned)
				}
			}
			return strings.Join(words, " ")
		})
	case traefikNames:
		return each(",", func(part string) string {
			object, provider, ok := strings.Cut(strings.TrimSpace(part), "@")
			if !ok || provider != "kubernetescrd" {
				return part
			}
			space, rest := splitTraefik(env, namespace, object)
			return strings.Replace(visit(resource.Key{Namespace: space, Name: rest}, true), "/", "-", 1) + "@" + provider
		})
	case serviceURL:
		return serviceHost(env, value, func(object resource.Key) string { return visit(object, false) })
	default:
		return name(value)
	}
}

// splitTraefik finds the namespace in "namespace-name": the Ingress's own if it fits, or
// the longest that this cluster has.
func splitTraefik(env resource.Env, namespace, object string) (space, name string) {
	if rest, ok := strings.CutPrefix(object, namespace+"-"); ok {
		return namespace, rest
	}
	for _, candidate := range env.View.VirtualList("namespaces", "") {
		if rest, ok := strings.CutPrefix(object, candidate.GetName()+"-"); ok && len(candidate.GetName()) > len(space) {
			space, name = candidate.GetName(), rest
		}
	}
	if space == "" {
		return namespace, object // nothing here, and so nothing there
	}
	return space, name
}

// serviceHost is a URL at whose host a virtual Service's DNS name is replaced by the host's.
func serviceHost(env resource.Env, text string, visit func(object resource.Key) string) string {
	address, err := url.Parse(text)
	if err != nil || address.Host == "" {
		return text
	}
	labels := strings.Split(strings.TrimSuffix(address.Hostname(), "."+env.ClusterDomain), ".")
	if len(labels) != 3 || labels[2] != "svc" {
		return text
	}
	host := visit(resource.Key{Namespace: labels[1], Name: labels[0]}) + "." + env.HostNamespace + ".svc"
	return strings.Replace(text, address.Hostname(), host, 1)
}
