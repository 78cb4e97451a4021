package resources

import (
	discoveryv1 "k8s.io/api/discovery/v1"

	"nestling.dev/nestling/syncer/resource"
)

const (
	// sliceManager manages the slices on the host. Its controllers leave alone what is not theirs.
	sliceManager = "nestling.dev"
	// Those of upstream's controllers (pkg/controller/endpointslice, endpointslicemirroring).
	podSliceManager    = "endpointslice-controller.k8s.io"
	mirrorSliceManager = "endpointslicemirroring-controller.k8s.io"
)

// EndpointSlices go to the host but for those that its own controller makes there as ours
// makes them here: of a Service's selector. So what goes is the slices that the tenant
// writes by hand or by a controller of its own, and those that the virtual cluster makes
// of Endpoints, which Services without selector have.
//
// Pods that slices refer to are not named on the host; their addresses and zones say
// enough. What addresses may be named, see endpointAddresses. Slices of names (addressType
// FQDN) stay here: the host would look them up in its own DNS.
func EndpointSlices() resource.Kind {
	return resource.Spec[*discoveryv1.EndpointSlice]{
		Resource:   discoveryv1.SchemeGroupVersion.WithResource("endpointslices"),
		Kind:       "EndpointSlice",
		Namespaced: true,
		Direction:  resource.ToHost,
		Optional:   true, // as Endpoints
		NoStatus:   true,
		About: resource.About{
			Virtual: "everything; addresses of nodes and of other pods than the tenant's are left out",
			Host:    "nothing",
			Default: "of Services without selector, and those that the tenant adds to others",
		},
		New: func() *discoveryv1.EndpointSlice { return &discoveryv1.EndpointSlice{} },
		Refs: func(virtual *discoveryv1.EndpointSlice) []resource.Ref {
			if service := virtual.Labels[discoveryv1.LabelServiceName]; service != "" {
				return serviceRefs(virtual.Namespace, service)
			}
			return nil
		},
		Select:  selectSlice,
		Reasons: sliceReasons(),
		ToHost:  sliceToHost,
		Notice: func(env resource.Env, virtual *discoveryv1.EndpointSlice) *resource.Rejection {
			var addresses []string
			for _, endpoint := range virtual.Endpoints {
				addresses = append(addresses, endpoint.Addresses...)
			}
			return refusedAddresses(env, addresses)
		},
		MergeHost: func(_ resource.Env, desired, live *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
			out := *live
			out.Endpoints, out.Ports = desired.Endpoints, desired.Ports
			return &out
		},
		Replace: func(desired, live *discoveryv1.EndpointSlice) bool { return desired.AddressType != live.AddressType },
	}.Erase()
}

func selectSlice(env resource.Env, virtual *discoveryv1.EndpointSlice) bool {
	if virtual.AddressType == discoveryv1.AddressTypeFQDN {
		return false
	}
	service := hostedService(env, virtual.Namespace, virtual.Labels[discoveryv1.LabelServiceName])
	if service == nil {
		return false
	}
	switch virtual.Labels[discoveryv1.LabelManagedBy] {
	case podSliceManager:
		return false
	case mirrorSliceManager:
		return len(service.Spec.Selector) == 0 // or it is about to go
	}
	return true
}

func sliceToHost(env resource.Env, virtual *discoveryv1.EndpointSlice) (*discoveryv1.EndpointSlice, error) {
	allowed := endpointAddresses(env)
	host := &discoveryv1.EndpointSlice{
		ObjectMeta: resource.HostMeta(env, virtual), AddressType: virtual.AddressType, Ports: virtual.Ports,
	}
	if host.Labels == nil {
		host.Labels = map[string]string{}
	}
	host.Labels[discoveryv1.LabelServiceName] = hostService(env, virtual.Namespace, virtual.Labels[discoveryv1.LabelServiceName])
	host.Labels[discoveryv1.LabelManagedBy] = sliceManager
	for _, endpoint := range virtual.Endpoints {
		var addresses []string
		for _, address := range endpoint.Addresses {
			if allowed(address) {
				addresses = append(addresses, address)
			}
		}
		if len(addresses) == 0 {
			continue
		}
		endpoint.Addresses = addresses
		endpoint.NodeName = realNode(env, endpoint.NodeName)
		endpoint.TargetRef, endpoint.DeprecatedTopology = nil, nil
		host.Endpoints = append(host.Endpoints, endpoint)
	}
	return host, nil
}
