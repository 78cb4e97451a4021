package deploy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/syncer/resource"
)

// NetworkPolicy fences the control plane's pod. A tenant's administrator can make the tenant's API server dial: by the
// proxy of nodes, pods and Services, by webhooks, and by aggregated APIs. The policy lets it dial the tenant's own pods,
// and nothing else beside what the process itself needs: not the pods of others, nor a node, nor the cloud's metadata
// service. Pods of the tenant on a host network have the addresses of nodes, and are out of reach too.
type NetworkPolicy struct {
	Enabled bool `json:"enabled"`
	// APIFrom may reach the tenant's API, beside the tenant's own pods. Empty is everybody.
	APIFrom []networkingv1.NetworkPolicyPeer `json:"apiFrom"`
	// HostAPIServers are the addresses of the host's API server, as `kubectl get endpointslices -n default` says them;
	// required.
	HostAPIServers []Endpoint `json:"hostAPIServers"`
	// Nameservers are the pods or addresses that the control plane asks, at port 53, for names of others: at first the
	// DNS of most clusters. Those of config.dns are allowed anyway.
	Nameservers []networkingv1.NetworkPolicyPeer `json:"nameservers"`
	// Egress are further rules, such as for an issuer of OIDC tokens.
	Egress []networkingv1.NetworkPolicyEgressRule `json:"egress"`
}

// Endpoint is a TCP port of a range of addresses.
type Endpoint struct {
	// CIDR is the range, such as 192.0.2.10/32.
	CIDR string `json:"cidr"`
	Port int32  `json:"port"`
}

// clusterDNS is where most clusters have it.
func clusterDNS() []networkingv1.NetworkPolicyPeer {
	return []networkingv1.NetworkPolicyPeer{{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: metav1.NamespaceSystem}},
		PodSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{"k8s-app": "kube-dns"}},
	}}
}

// networkPolicy has no rule for kubelet's probes: kubelet reaches the pods of its node whatever policies say.
func networkPolicy(o Options) *networkingv1.NetworkPolicy {
	tenant := networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{resource.LabelTenant: o.Tenant}}}
	api := networkingv1.NetworkPolicyIngressRule{Ports: ports(Port, corev1.ProtocolTCP)}
	if len(o.NetworkPolicy.APIFrom) > 0 {
		api.From = append([]networkingv1.NetworkPolicyPeer{tenant}, o.NetworkPolicy.APIFrom...)
	}
	egress := []networkingv1.NetworkPolicyEgressRule{{To: []networkingv1.NetworkPolicyPeer{tenant}}}
	for _, server := range o.NetworkPolicy.HostAPIServers {
		egress = append(egress, networkingv1.NetworkPolicyEgressRule{To: block(server.CIDR), Ports: ports(server.Port, corev1.ProtocolTCP)})
	}
	if len(o.NetworkPolicy.Nameservers) > 0 {
		egress = append(egress, networkingv1.NetworkPolicyEgressRule{
			To: o.NetworkPolicy.Nameservers, Ports: ports(53, corev1.ProtocolUDP, corev1.ProtocolTCP),
		})
	}
	for _, server := range nameservers(o.Config.DNS) {
		egress = append(egress, networkingv1.NetworkPolicyEgressRule{
			To:    block(netip.PrefixFrom(server.Addr(), server.Addr().BitLen()).String()),
			Ports: ports(int32(server.Port()), corev1.ProtocolUDP, corev1.ProtocolTCP),
		})
	}
	return &networkingv1.NetworkPolicy{
		TypeMeta: kind(networkingv1.SchemeGroupVersion.String(), "NetworkPolicy"), ObjectMeta: o.meta(o.Tenant),
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{ControlPlaneLabel: o.Tenant}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{
				api,
				{From: []networkingv1.NetworkPolicyPeer{tenant}, Ports: ports(DNSPort, corev1.ProtocolUDP, corev1.ProtocolTCP)},
			},
			Egress: append(egress, o.NetworkPolicy.Egress...),
		},
	}
}

// nameservers are those of the configuration, in its order; domains by name.
func nameservers(dns config.DNS) []netip.AddrPort {
	texts := slices.Clone(dns.Upstream)
	for _, domain := range slices.Sorted(maps.Keys(dns.StubDomains)) {
		texts = append(texts, dns.StubDomains[domain]...)
	}
	var out []netip.AddrPort
	for _, text := range texts {
		if server, err := config.Nameserver(text); err == nil { // else Validate has said so
			out = append(out, server)
		}
	}
	return out
}

func block(cidr string) []networkingv1.NetworkPolicyPeer {
	return []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: cidr}}}
}

func ports(number int32, protocols ...corev1.Protocol) []networkingv1.NetworkPolicyPort {
	var out []networkingv1.NetworkPolicyPort
	for _, protocol := range protocols {
		out = append(out, networkingv1.NetworkPolicyPort{Protocol: to(protocol), Port: to(intstr.FromInt32(number))})
	}
	return out
}

func (p NetworkPolicy) validate() error {
	if !p.Enabled {
		return nil
	}
	if len(p.HostAPIServers) == 0 {
		return fmt.Errorf("networkPolicy.hostAPIServers: is required: the addresses of the host's API server, as `kubectl get endpointslices -n default` says them")
	}
	for i, server := range p.HostAPIServers {
		if _, err := netip.ParsePrefix(server.CIDR); err != nil {
			return fmt.Errorf("networkPolicy.hostAPIServers[%d].cidr: %q is not a range such as 192.0.2.10/32", i, server.CIDR)
		}
		if server.Port < 1 || server.Port > 65535 {
			return fmt.Errorf("networkPolicy.hostAPIServers[%d].port: %d is not between 1 and 65535", i, server.Port)
		}
	}
	return nil
}
