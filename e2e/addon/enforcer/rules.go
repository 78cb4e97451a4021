package enforcer

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Rules is the input of iptables-restore that makes policies hold for pods.
func Rules(pods []*corev1.Pod, policies []*networkingv1.NetworkPolicy) string {
	pods = slices.DeleteFunc(slices.Clone(pods), func(pod *corev1.Pod) bool { return pod.Status.PodIP == "" || pod.Spec.HostNetwork })
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return strings.Compare(a.Status.PodIP, b.Status.PodIP) })
	var chains, jumps, rules []string
	for _, pod := range pods {
		for _, direction := range []networkingv1.PolicyType{networkingv1.PolicyTypeEgress, networkingv1.PolicyTypeIngress} {
			var isolated []*networkingv1.NetworkPolicy
			for _, policy := range policies {
				if policy.Namespace == pod.Namespace && slices.Contains(policy.Spec.PolicyTypes, direction) && selects(&policy.Spec.PodSelector, pod) {
					isolated = append(isolated, policy)
				}
			}
			if len(isolated) == 0 {
				continue
			}
			chain := fmt.Sprintf("NP-%s-%s", direction[:2], pod.Status.PodIP)
			chains = append(chains, ":"+chain+" - [0:0]")
			jumps = append(jumps, fmt.Sprintf("-A NETPOL %s %s -j %s", map[networkingv1.PolicyType]string{"Ingress": "-d", "Egress": "-s"}[direction], pod.Status.PodIP, chain))
			for _, policy := range isolated {
				for _, rule := range rulesOf(policy, direction) {
					for _, match := range rule.matches(pod, direction, pods) {
						rules = append(rules, "-A "+chain+match+" -j RETURN")
					}
				}
			}
			rules = append(rules, "-A "+chain+" -j DROP")
		}
	}
	lines := slices.Concat([]string{"*filter", ":NETPOL - [0:0]"}, chains,
		[]string{"-A NETPOL -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN"}, jumps, rules, []string{"COMMIT", ""})
	return strings.Join(lines, "\n")
}

// rule is one of either direction.
type rule struct {
	peers []networkingv1.NetworkPolicyPeer
	ports []networkingv1.NetworkPolicyPort
}

func rulesOf(policy *networkingv1.NetworkPolicy, direction networkingv1.PolicyType) []rule {
	var out []rule
	if direction == networkingv1.PolicyTypeIngress {
		for _, each := range policy.Spec.Ingress {
			out = append(out, rule{each.From, each.Ports})
		}
		return out
	}
	for _, each := range policy.Spec.Egress {
		out = append(out, rule{each.To, each.Ports})
	}
	return out
}

// matches are the parts of iptables rules that let through what a rule allows to a pod.
func (r rule) matches(isolated *corev1.Pod, direction networkingv1.PolicyType, pods []*corev1.Pod) []string {
	side := map[networkingv1.PolicyType]string{"Ingress": " -s ", "Egress": " -d "}[direction]
	addresses := []string{""}
	if len(r.peers) > 0 {
		addresses = nil
	}
	for _, peer := range r.peers {
		if peer.IPBlock != nil && len(peer.IPBlock.Except) == 0 {
			addresses = append(addresses, side+peer.IPBlock.CIDR)
		}
		if peer.PodSelector == nil || peer.NamespaceSelector != nil {
			continue
		}
		for _, pod := range pods {
			if pod.Namespace == isolated.Namespace && selects(peer.PodSelector, pod) {
				addresses = append(addresses, side+pod.Status.PodIP)
			}
		}
	}
	ports := []string{""}
	if len(r.ports) > 0 {
		ports = nil
	}
	for _, port := range r.ports {
		protocol := " -p tcp"
		if port.Protocol != nil {
			protocol = " -p " + strings.ToLower(string(*port.Protocol))
		}
		switch {
		case port.Port == nil:
			ports = append(ports, protocol)
		case port.Port.Type == intstr.Int && port.EndPort != nil:
			ports = append(ports, fmt.Sprintf("%s --dport %d:%d", protocol, port.Port.IntVal, *port.EndPort))
		case port.Port.Type == intstr.Int:
			ports = append(ports, fmt.Sprintf("%s --dport %d", protocol, port.Port.IntVal))
		case direction == networkingv1.PolicyTypeIngress:
			for _, number := range named(isolated, port.Port.StrVal) {
				ports = append(ports, fmt.Sprintf("%s --dport %d", protocol, number))
			}
		}
	}
	var out []string
	for _, address := range addresses {
		for _, port := range ports {
			out = append(out, address+port)
		}
	}
	return out
}

// named are the ports of a pod with that name.
func named(pod *corev1.Pod, name string) (out []int32) {
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.Name == name {
				out = append(out, port.ContainerPort)
			}
		}
	}
	return out
}

func selects(selector *metav1.LabelSelector, pod *corev1.Pod) bool {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && parsed.Matches(labels.Set(pod.Labels))
}
