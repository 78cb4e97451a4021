package enforcer

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestRules(t *testing.T) {
	t.Parallel()
	pod := func(name, ip string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, Labels: map[string]string{"app": name}}, Status: corev1.PodStatus{PodIP: ip}}
	}
	app := func(name string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
	}
	udp := corev1.ProtocolUDP
	policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "n"}, Spec: networkingv1.NetworkPolicySpec{
		PodSelector: *app("web"), PolicyTypes: []networkingv1.PolicyType{"Ingress", "Egress"},
		Ingress: []networkingv1.NetworkPolicyIngressRule{{
			From:  []networkingv1.NetworkPolicyPeer{{PodSelector: app("client")}, {IPBlock: &networkingv1.IPBlock{CIDR: "192.0.2.0/24"}}},
			Ports: []networkingv1.NetworkPolicyPort{{Port: new(intstr.FromInt32(80)), EndPort: new(int32(90))}},
		}},
		Egress: []networkingv1.NetworkPolicyEgressRule{
			{Ports: []networkingv1.NetworkPolicyPort{{Protocol: &udp, Port: new(intstr.FromInt32(53))}}},
			{To: []networkingv1.NetworkPolicyPeer{{PodSelector: app("nobody")}}},
		},
	}}
	want := `*filter
:NETPOL - [0:0]
:NP-Eg-10.0.0.1 - [0:0]
:NP-In-10.0.0.1 - [0:0]
-A NETPOL -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN
-A NETPOL -s 10.0.0.1 -j NP-Eg-10.0.0.1
-A NETPOL -d 10.0.0.1 -j NP-In-10.0.0.1
-A NP-Eg-10.0.0.1 -p udp --dport 53 -j RETURN
-A NP-Eg-10.0.0.1 -j DROP
-A NP-In-10.0.0.1 -s 10.0.0.2 -p tcp --dport 80:90 -j RETURN
-A NP-In-10.0.0.1 -s 192.0.2.0/24 -p tcp --dport 80:90 -j RETURN
-A NP-In-10.0.0.1 -j DROP
COMMIT
`
	got := Rules([]*corev1.Pod{pod("client", "10.0.0.2"), pod("web", "10.0.0.1"), pod("pending", "")}, []*networkingv1.NetworkPolicy{policy})
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}
