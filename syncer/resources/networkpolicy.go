package resources

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"nestling.dev/nestling/syncer/resource"
)

// NetworkPolicies go to the host, whose network enforces them. All of a tenant's pods
// stand in one namespace there, and carry the labels of their virtual ones; so what a
// policy asks of namespaces is asked of pods, always among this tenant's.
//
// A policy that isolates pods leaves them the tenant's own control plane, which is a pod
// like others on the host and none here: they can ask its API and its DNS, and its API
// server can call their webhooks, as on clusters whose control plane is not on the pods'
// network. ipBlocks are left as they are: whether they hold for addresses of pods and
// Services is the host's network's to say, as on any cluster.
//
// Policies add up. A tenant's policy can allow its own pods what a NetworkPolicy of the
// operator's in the same namespace does not: what must hold against tenants belongs into
// policies of the whole cluster (AdminNetworkPolicy, or those of the host's network).
func NetworkPolicies() resource.Kind {
	return resource.Spec[*networkingv1.NetworkPolicy]{
		Resource:   networkingv1.SchemeGroupVersion.WithResource("networkpolicies"),
		Kind:       "NetworkPolicy",
		Namespaced: true,
		Direction:  resource.ToHost,
		NoStatus:   true,
		About: resource.About{
			Virtual: "everything; selectors are confined to the tenant's pods",
			Host:    "nothing",
			Default: "all",
		},
		New:     func() *networkingv1.NetworkPolicy { return &networkingv1.NetworkPolicy{} },
		Reasons: networkPolicyReasons(),
		ToHost:  networkPolicyToHost,
		MergeHost: func(_ resource.Env, desired, live *networkingv1.NetworkPolicy) *networkingv1.NetworkPolicy {
			out := *live
			out.Spec = desired.Spec
			return &out
		},
	}.Erase()
}

func networkPolicyToHost(env resource.Env, virtual *networkingv1.NetworkPolicy) (*networkingv1.NetworkPolicy, error) {
	own := inNamespaces(virtual.Namespace)
	spec := networkingv1.NetworkPolicySpec{
		PodSelector: *confined(env, &virtual.Spec.PodSelector, own),
		PolicyTypes: virtual.Spec.PolicyTypes,
	}
	for _, rule := range virtual.Spec.Ingress {
		spec.Ingress = append(spec.Ingress, networkingv1.NetworkPolicyIngressRule{
			Ports: rule.Ports, From: hostPeers(env, own, rule.From),
		})
	}
	for _, rule := range virtual.Spec.Egress {
		spec.Egress = append(spec.Egress, networkingv1.NetworkPolicyEgressRule{
			Ports: rule.Ports, To: hostPeers(env, own, rule.To),
		})
	}
	controlPlane := []networkingv1.NetworkPolicyPeer{{
		PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{resource.LabelControlPlane: env.Tenant}},
	}}
	if isolates(virtual, networkingv1.PolicyTypeIngress) {
		spec.Ingress = append(spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: controlPlane})
	}
	if isolates(virtual, networkingv1.PolicyTypeEgress) {
		spec.Egress = append(spec.Egress, networkingv1.NetworkPolicyEgressRule{To: controlPlane, Ports: controlPlanePorts(env)})
	}
	return &networkingv1.NetworkPolicy{ObjectMeta: resource.HostMeta(env, virtual), Spec: spec}, nil
}

// hostPeers never has fewer peers than virtual: a rule without any is a rule for all.
func hostPeers(env resource.Env, own metav1.LabelSelectorRequirement, virtual []networkingv1.NetworkPolicyPeer) []networkingv1.NetworkPolicyPeer {
	var out []networkingv1.NetworkPolicyPeer
	for _, peer := range virtual {
		if peer.IPBlock != nil {
			out = append(out, networkingv1.NetworkPolicyPeer{IPBlock: peer.IPBlock})
			continue
		}
		pods, namespaces := peer.PodSelector, []metav1.LabelSelectorRequirement{own}
		if peer.NamespaceSelector != nil {
			namespaces = namespaceRequirements(peer.NamespaceSelector)
		}
		if pods == nil {
			pods = &metav1.LabelSelector{} // all of the namespaces
		}
		out = append(out, networkingv1.NetworkPolicyPeer{PodSelector: confined(env, pods, namespaces...)})
	}
	return out
}

// isolates tells whether a policy is one for a direction. The API server writes down what
// a policy without types means.
func isolates(policy *networkingv1.NetworkPolicy, direction networkingv1.PolicyType) bool {
	return slices.Contains(policy.Spec.PolicyTypes, direction)
}

// controlPlanePorts are those of the pod, since policies are asked after a Service's
// address has become a pod's. None: all of them.
func controlPlanePorts(env resource.Env) []networkingv1.NetworkPolicyPort {
	var out []networkingv1.NetworkPolicyPort
	port := func(protocol corev1.Protocol, number int32) {
		out = append(out, networkingv1.NetworkPolicyPort{Protocol: &protocol, Port: new(intstr.FromInt32(number))})
	}
	if env.ControlPlane.APIPort == 0 {
		return nil
	}
	port(corev1.ProtocolTCP, env.ControlPlane.APIPort)
	if env.ControlPlane.DNSPort != 0 {
		port(corev1.ProtocolUDP, env.ControlPlane.DNSPort)
		port(corev1.ProtocolTCP, env.ControlPlane.DNSPort)
	}
	return out
}
