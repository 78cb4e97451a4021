package deploy

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"

	"nestling.dev/nestling/pkg/config"
)

const (
	// apiPortName is that of the tenant's API, in the Service as in the pod.
	apiPortName = "https"
	// apiPort is where the Service has it.
	apiPort = 443
)

// passThrough tells the controllers of Ingresses that we know of to leave TLS alone: each reads its own and ignores
// those of the others. (Traefik has no such annotation; it takes a TLSRoute.)
func passThrough() map[string]string {
	return map[string]string{
		"nginx.ingress.kubernetes.io/ssl-passthrough": "true",        // ingress-nginx, with --enable-ssl-passthrough
		"haproxy-ingress.github.io/ssl-passthrough":   "true",        // haproxy-ingress
		"haproxy.org/ssl-passthrough":                 "true",        // HAProxy Technologies
		"route.openshift.io/termination":              "passthrough", // OpenShift makes a Route of it
	}
}

// expose makes the Service the one that its exposure wants. It keeps its ClusterIP in any case: that is the one of
// `default/kubernetes`.
func expose(service *corev1.Service, exposure config.Exposure) {
	switch exposure.Kind() {
	case config.ExposeLoadBalancer:
		service.Spec.Type = corev1.ServiceTypeLoadBalancer
		service.Spec.LoadBalancerSourceRanges = exposure.SourceRanges
		if exposure.LoadBalancerClass != "" {
			service.Spec.LoadBalancerClass = &exposure.LoadBalancerClass
		}
		if exposure.Port != 0 && exposure.Port != apiPort {
			service.Spec.Ports = append(service.Spec.Ports, corev1.ServicePort{
				Name: "exposed", Port: int32(exposure.Port), TargetPort: intstr.FromString(apiPortName), Protocol: corev1.ProtocolTCP,
			})
		}
	case config.ExposeNodePort:
		service.Spec.Type = corev1.ServiceTypeNodePort
		service.Spec.Ports[0].NodePort = int32(exposure.NodePort)
	case config.ExposeIngress, config.ExposeGateway:
		return // the annotations are theirs
	}
	if len(exposure.Annotations) > 0 {
		service.Annotations = exposure.Annotations
	}
}

// routes are what leads to the Service from outside the host cluster.
func routes(o Options) []Object {
	switch exposure := o.Config.APIServer.Exposure; exposure.Kind() {
	case config.ExposeIngress:
		return []Object{ingress(o, exposure)}
	case config.ExposeGateway:
		return []Object{tlsRoute(o, exposure)}
	}
	return nil
}

func ingress(o Options, exposure config.Exposure) *networkingv1.Ingress {
	meta := o.meta(o.Tenant)
	meta.Annotations = passThrough()
	maps.Copy(meta.Annotations, exposure.Annotations)
	backend := networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
		Name: o.Tenant, Port: networkingv1.ServiceBackendPort{Name: apiPortName},
	}}
	out := &networkingv1.Ingress{
		TypeMeta: kind(networkingv1.SchemeGroupVersion.String(), "Ingress"), ObjectMeta: meta,
		Spec: networkingv1.IngressSpec{
			TLS: []networkingv1.IngressTLS{{Hosts: []string{exposure.Host}}},
			Rules: []networkingv1.IngressRule{{Host: exposure.Host, IngressRuleValue: networkingv1.IngressRuleValue{
				HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{
					{Path: "/", PathType: to(networkingv1.PathTypePrefix), Backend: backend},
				}},
			}}},
		},
	}
	if exposure.IngressClassName != "" {
		out.Spec.IngressClassName = &exposure.IngressClassName
	}
	return out
}

// tlsRoute is of a custom resource of the host's, whose types are no part of Kubernetes.
func tlsRoute(o Options, exposure config.Exposure) *unstructured.Unstructured {
	version := exposure.RouteVersion
	if version == "" {
		version = "v1"
	}
	var parents []any
	for _, parent := range exposure.ParentRefs {
		ref := map[string]any{"name": parent.Name}
		if parent.Namespace != "" {
			ref["namespace"] = parent.Namespace
		}
		if parent.SectionName != "" {
			ref["sectionName"] = parent.SectionName
		}
		parents = append(parents, ref)
	}
	meta := o.meta(o.Tenant)
	out := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "gateway.networking.k8s.io/" + version, "kind": "TLSRoute",
		"spec": map[string]any{
			"parentRefs": parents,
			"hostnames":  []any{exposure.Host},
			"rules":      []any{map[string]any{"backendRefs": []any{map[string]any{"name": o.Tenant, "port": int64(apiPort)}}}},
		},
	}}
	out.SetName(meta.Name)
	out.SetNamespace(meta.Namespace)
	out.SetLabels(meta.Labels)
	if len(exposure.Annotations) > 0 {
		out.SetAnnotations(exposure.Annotations)
	}
	return out
}
