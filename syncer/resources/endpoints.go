package resources

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
)

// leaderAnnotation marks Endpoints that nobody is to connect to: some programs of before
// 2020 elected their leader by them.
const leaderAnnotation = "control-plane.alpha.kubernetes.io/leader"

// Endpoints go to the host where the tenant itself says where a Service leads, because the
// Service has no selector. Others are made by controllers on either side, from pods.
//
// The host's proxies read EndpointSlices, which are synced as well, those that the virtual
// cluster makes of Endpoints among them; so the host is told not to make its own of these.
// What addresses may be named, see endpointAddresses.
func Endpoints() resource.Kind {
	return resource.Spec[*corev1.Endpoints]{
		Resource:   corev1.SchemeGroupVersion.WithResource("endpoints"),
		Kind:       "Endpoints",
		Namespaced: true,
		Direction:  resource.ToHost,
		Optional:   true, // a host may not want namespaces to name addresses (CVE-2021-25740)
		NoStatus:   true,
		About: resource.About{
			Virtual: "everything; addresses of nodes and of other pods than the tenant's are left out",
			Host:    "nothing",
			Default: "of Services without selector",
		},
		New:  func() *corev1.Endpoints { return &corev1.Endpoints{} },
		Refs: func(virtual *corev1.Endpoints) []resource.Ref { return serviceRefs(virtual.Namespace, virtual.Name) },
		Select: func(env resource.Env, virtual *corev1.Endpoints) bool {
			_, election := virtual.Annotations[leaderAnnotation]
			service := hostedService(env, virtual.Namespace, virtual.Name)
			return !election && service != nil && len(service.Spec.Selector) == 0
		},
		Reasons: endpointsReasons(),
		ToHost:  endpointsToHost,
		// Those that the host's controller has left behind when the Service lost its selector.
		Adopts: func(env resource.Env, host *corev1.Endpoints) bool {
			service := env.View.Host("services", host.Name)
			return service != nil && resource.IsOurs(env, "Service", service) && host.Annotations[resource.AnnotationIdentity] == ""
		},
		Notice: func(env resource.Env, virtual *corev1.Endpoints) *resource.Rejection {
			var addresses []string
			for _, subset := range virtual.Subsets {
				for _, address := range append(slices.Clone(subset.Addresses), subset.NotReadyAddresses...) {
					addresses = append(addresses, address.IP)
				}
			}
			return refusedAddresses(env, addresses)
		},
		MergeHost: func(_ resource.Env, desired, live *corev1.Endpoints) *corev1.Endpoints {
			out := *live
			out.Subsets = desired.Subsets
			return &out
		},
	}.Erase()
}

func endpointsToHost(env resource.Env, virtual *corev1.Endpoints) (*corev1.Endpoints, error) {
	allowed := endpointAddresses(env)
	host := &corev1.Endpoints{ObjectMeta: resource.HostMeta(env, virtual)}
	delete(host.Annotations, corev1.EndpointsLastChangeTriggerTime)
	if host.Labels == nil {
		host.Labels = map[string]string{}
	}
	host.Labels[discoveryv1.LabelSkipMirror] = "true"
	addresses := func(virtual []corev1.EndpointAddress) []corev1.EndpointAddress {
		var out []corev1.EndpointAddress
		for _, address := range virtual {
			if allowed(address.IP) {
				out = append(out, corev1.EndpointAddress{IP: address.IP, Hostname: address.Hostname, NodeName: realNode(env, address.NodeName)})
			}
		}
		return out
	}
	for _, subset := range virtual.Subsets {
		translated := corev1.EndpointSubset{
			Addresses: addresses(subset.Addresses), NotReadyAddresses: addresses(subset.NotReadyAddresses), Ports: subset.Ports,
		}
		if len(translated.Addresses)+len(translated.NotReadyAddresses) > 0 { // the API refuses empty ones
			host.Subsets = append(host.Subsets, translated)
		}
	}
	return host, nil
}

// serviceRefs lets endpoints follow what becomes of their Service.
func serviceRefs(namespace, service string) []resource.Ref {
	return []resource.Ref{{Resource: "services", Key: resource.Key{Namespace: namespace, Name: service}}}
}

// hostedService is the virtual Service of a name if it stands on the host, otherwise nil.
func hostedService(env resource.Env, namespace, name string) *corev1.Service {
	service, ok := env.View.Virtual("services", resource.Key{Namespace: namespace, Name: name}).(*corev1.Service)
	if !ok || !selectService(env, service) {
		return nil
	}
	return service
}

// realNode is a node's name if the host has a node of that name, which it then knows by
// the same one.
func realNode(env resource.Env, name *string) *string {
	if name == nil || env.View.Host("nodes", *name) == nil {
		return nil
	}
	return name
}

// hostService is the host name of a Service.
func hostService(env resource.Env, namespace, name string) string {
	return naming.Host(env.Tenant, namespace, name)
}
