package resources

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"nestling.dev/nestling/syncer/resource"
)

// Services go to the host, whose ClusterIPs and node ports are the tenant's too.
// Admission makes the host Service first and writes the host's choices into the
// request, so that here both sides agree on them already; what is missing on the
// virtual side is left to the host.
//
// A Service of type ExternalName has no address and stays here: it is a name for the
// tenant's DNS. On the host it would be one in the host's DNS, by which an Ingress could
// lead to whatever the host's Ingress controllers reach. spec.externalIPs are refused:
// they would take over anybody's addresses, for every pod of the host (CVE-2020-8554).
func Services() resource.Kind {
	return resource.Spec[*corev1.Service]{
		Resource:   corev1.SchemeGroupVersion.WithResource("services"),
		Kind:       "Service",
		Namespaced: true,
		Direction:  resource.ToHost,
		Atomic:     true, // spec.ports may have one number for two protocols
		New:        func() *corev1.Service { return &corev1.Service{} },
		About: resource.About{
			Virtual: "everything else",
			Host:    "`clusterIP(s)`, `nodePort`s, `healthCheckNodePort`, known in the answer to the request; status",
			Default: "all but those of type ExternalName, `default/kubernetes` and `kube-system/kube-dns`",
		},
		Reasons:      serviceReasons(),
		Pending:      servicePending,
		Select:       selectService,
		ToHost:       serviceToHost,
		MergeHost:    mergeHostService,
		Replace:      replaceHostService,
		MergeVirtual: mergeVirtualService,
	}.Erase()
}

// ServiceToHost is the whole host Service that a virtual one wants, marks included:
// what admission asks the host for. The virtual one may not have a UID yet.
func ServiceToHost(env resource.Env, virtual *corev1.Service) (*corev1.Service, error) {
	desired, err := serviceToHost(env, virtual)
	if err != nil {
		return nil, err
	}
	return resource.Stamp(env, "Service", virtual, desired), nil
}

func selectService(env resource.Env, virtual *corev1.Service) bool {
	return !isAPIService(virtual) && !isDNSService(env, virtual) && virtual.Spec.Type != corev1.ServiceTypeExternalName
}

// isAPIService is true of default/kubernetes, which is the tenant's API server: its
// address is that of the tenant's own Service on the host.
func isAPIService(virtual *corev1.Service) bool {
	return virtual.Namespace == "default" && virtual.Name == "kubernetes"
}

// isDNSService is true of kube-system/kube-dns where the tenant has a DNS of its own: it has
// the address of another Service on the host, which came with the tenant.
func isDNSService(env resource.Env, virtual *corev1.Service) bool {
	return env.DNSIP != "" && virtual.Namespace == "kube-system" && virtual.Name == "kube-dns"
}

func serviceToHost(env resource.Env, virtual *corev1.Service) (*corev1.Service, error) {
	if len(virtual.Spec.ExternalIPs) > 0 {
		return nil, resource.Rejectf("ExternalIPsForbidden", "spec.externalIPs is not allowed in this cluster; use type LoadBalancer or NodePort, or an Ingress")
	}
	spec := virtual.Spec // all but what follows is meant on the host as it is meant here
	spec.Selector = hostSelector(env, virtual.Namespace, virtual.Spec.Selector)
	meta := resource.HostMeta(env, virtual)
	meta.Annotations = ingressAnnotations(env, virtual.Namespace, meta.Annotations)
	return &corev1.Service{ObjectMeta: meta, Spec: spec}, nil
}

// hostSelector is a virtual selector that meets only this tenant's pods of its own
// namespace. A Service without selector stays without: somebody else makes its endpoints.
func hostSelector(env resource.Env, namespace string, virtual map[string]string) map[string]string {
	if len(virtual) == 0 {
		return nil
	}
	out := maps.Clone(virtual)
	maps.Copy(out, resource.HostLabels(env, namespace))
	return out
}

func mergeHostService(_ resource.Env, desired, live *corev1.Service) *corev1.Service {
	out := *live
	out.Spec = desired.Spec
	out.Spec.Ports = hostPorts(desired, live)
	if out.Spec.ClusterIP == "" {
		out.Spec.ClusterIP = live.Spec.ClusterIP
	}
	out.Spec.ClusterIPs = hostList(out.Spec.IPFamilyPolicy, desired.Spec.ClusterIPs, live.Spec.ClusterIPs)
	out.Spec.IPFamilies = hostList(out.Spec.IPFamilyPolicy, desired.Spec.IPFamilies, live.Spec.IPFamilies)
	if out.Spec.IPFamilyPolicy == nil {
		out.Spec.IPFamilyPolicy = live.Spec.IPFamilyPolicy
	}
	if out.Spec.HealthCheckNodePort == 0 && checksHealth(desired) {
		out.Spec.HealthCheckNodePort = live.Spec.HealthCheckNodePort
	}
	return &out
}

// hostPorts are the desired ones, with the node ports that the host has chosen where
// the virtual side has none.
func hostPorts(desired, live *corev1.Service) []corev1.ServicePort {
	allocates := desired.Spec.Type == corev1.ServiceTypeNodePort || desired.Spec.Type == corev1.ServiceTypeLoadBalancer
	out := slices.Clone(desired.Spec.Ports)
	for i := range out {
		for _, port := range live.Spec.Ports {
			if allocates && out[i].NodePort == 0 && port.Port == out[i].Port && port.Protocol == out[i].Protocol {
				out[i].NodePort = port.NodePort
			}
		}
	}
	return out
}

// hostList is the live list of IPs or families if it begins with the desired one: a
// dual-stack host adds a second of each where the policy lets it.
func hostList[E comparable](policy *corev1.IPFamilyPolicy, desired, live []E) []E {
	if len(live) < len(desired) || !slices.Equal(desired, live[:len(desired)]) {
		return desired
	}
	if policy != nil && *policy == corev1.IPFamilyPolicySingleStack && len(live) > 1 {
		return live[:1]
	}
	return live
}

func checksHealth(service *corev1.Service) bool {
	return service.Spec.Type == corev1.ServiceTypeLoadBalancer &&
		service.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}

// replaceHostService is true when the host Service has another address than the
// virtual one: somebody made it anew. One that carries no UID is of an admission that
// is still under way, and the virtual Service in our cache may be its predecessor.
func replaceHostService(desired, live *corev1.Service) bool {
	return live.Annotations[resource.AnnotationUID] != "" &&
		desired.Spec.ClusterIP != "" && live.Spec.ClusterIP != "" && desired.Spec.ClusterIP != live.Spec.ClusterIP
}

func mergeVirtualService(env resource.Env, virtual, host *corev1.Service) *corev1.Service {
	out := *virtual
	out.Status = corev1.ServiceStatus{Conditions: virtualConditions(env, virtual, host.Status.Conditions)}
	if virtual.Spec.Type == corev1.ServiceTypeLoadBalancer {
		out.Status.LoadBalancer = host.Status.LoadBalancer
	}
	return &out
}
