package resources

import (
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"nestling.dev/nestling/syncer/resource"
)

// endpointAddresses tells which addresses the tenant's endpoints may name on the host.
//
// A tenant's pod can connect to an address by itself, as far as the host's policies let
// it. What stands behind a Service is reached by others on its behalf: by the host's load
// balancers and Ingress controllers, by its nodes (which is who node ports' connections
// seem to come from), and so past policies that stop the pod. The API server refuses what
// is special on every machine (unspecified, loopback, link-local, where clouds keep their
// metadata; the tenant's own refused it already, and it is not relied on). Left out too
// are the host's nodes, whose kubelets and control plane trust each other's addresses, and
// addresses within the pod ranges of nodes that are not of a pod of this very tenant. What
// is outside the host's cluster is let through: databases that a Service gives a name.
//
// Where the host does not let us read its nodes, those are known that run the tenant's
// pods; and where it does not write their ranges down (spec.podCIDRs), others' pods are
// not. Such a host keeps tenants' pods from each other by policies of its network, or
// does not let endpoints be synced at all.
func endpointAddresses(env resource.Env) (allowed func(address string) bool) {
	nodes, ranges := map[netip.Addr]bool{}, []netip.Prefix{}
	known := env.View.HostList("nodes")
	if len(known) == 0 {
		known = env.View.VirtualList("nodes", "") // made of pods
	}
	for _, object := range known {
		node, ok := object.(*corev1.Node)
		if !ok {
			continue
		}
		for _, address := range node.Status.Addresses {
			if ip, err := netip.ParseAddr(address.Address); err == nil {
				nodes[ip.Unmap()] = true
			}
		}
		for _, text := range node.Spec.PodCIDRs {
			if prefix, err := netip.ParsePrefix(text); err == nil {
				ranges = append(ranges, prefix)
			}
		}
	}
	var pods map[netip.Addr]bool // when needed
	return func(address string) bool {
		ip, err := netip.ParseAddr(address)
		ip = ip.Unmap()
		if err != nil || nodes[ip] || ip.IsUnspecified() || ip.IsLoopback() || ip.IsMulticast() || ip.IsLinkLocalUnicast() {
			return false
		}
		for _, prefix := range ranges {
			if prefix.Contains(ip) {
				if pods == nil {
					pods = podAddresses(env)
				}
				return pods[ip]
			}
		}
		return true
	}
}

// refusedAddresses tells the tenant which of its endpoints' addresses stay here.
func refusedAddresses(env resource.Env, addresses []string) *resource.Rejection {
	allowed := endpointAddresses(env)
	var refused []string
	for _, address := range addresses {
		if !allowed(address) {
			refused = append(refused, address)
		}
	}
	if len(refused) == 0 {
		return nil
	}
	if more := len(refused) - maxRefused; more > 0 {
		refused = append(refused[:maxRefused], fmt.Sprintf("%d more", more))
	}
	return resource.Rejectf("AddressesLeftOut",
		"the Service's address does not lead to %s: endpoints may not name nodes, nor pods that are not this cluster's", strings.Join(refused, ", "))
}

// maxRefused is how many addresses a message names: an EndpointSlice may have a thousand.
const maxRefused = 5

// podAddresses are those of the tenant's pods. One on its node's network has the node's,
// which stays the node's.
func podAddresses(env resource.Env) map[netip.Addr]bool {
	out := map[netip.Addr]bool{}
	for _, object := range env.View.HostList("pods") {
		pod, ok := object.(*corev1.Pod)
		if !ok || pod.Spec.HostNetwork || !resource.IsOurs(env, "Pod", pod) {
			continue
		}
		for _, podIP := range pod.Status.PodIPs {
			if ip, err := netip.ParseAddr(podIP.IP); err == nil {
				out[ip.Unmap()] = true
			}
		}
	}
	return out
}
