package access_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/pkg/access"
	"nestling.dev/nestling/pkg/config"
)

func node(name string, isReady bool, addresses ...corev1.NodeAddress) *corev1.Node {
	status := corev1.ConditionFalse
	if isReady {
		status = corev1.ConditionTrue
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status: corev1.NodeStatus{
			Addresses:  addresses,
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status}},
		},
	}
}

func internal(ip string) corev1.NodeAddress {
	return corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: ip}
}

func external(ip string) corev1.NodeAddress {
	return corev1.NodeAddress{Type: corev1.NodeExternalIP, Address: ip}
}

func balancer(addresses ...corev1.LoadBalancerIngress) *corev1.Service {
	return &corev1.Service{Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: addresses}}}
}

func nodePort(port int32) *corev1.Service {
	return &corev1.Service{Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "other", NodePort: 1}, {Name: "https", NodePort: port}}}}
}

func TestLocate(t *testing.T) {
	t.Parallel()
	name := &corev1.Node{Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: "n"}}}}
	for title, test := range map[string]struct {
		exposure       config.Exposure
		fixed, current string
		around         access.Surroundings
		want           access.Location
	}{
		"what the configuration says, it says": {
			exposure: config.Exposure{Type: config.ExposeLoadBalancer, Host: "a.example"}, fixed: "https://b.example:8443/path",
			want: access.Location{URL: "https://b.example:8443/path", Names: []string{"a.example", "b.example"}},
		},
		"something else in front": {
			exposure: config.Exposure{Host: "a.example", Port: 6443},
			want:     access.Location{URL: "https://a.example:6443", Names: []string{"a.example"}},
		},
		"an Ingress": {
			exposure: config.Exposure{Type: config.ExposeIngress, Host: "a.example"},
			want:     access.Location{URL: "https://a.example:443", Names: []string{"a.example"}},
		},
		"a load balancer without an address yet": {
			exposure: config.Exposure{Type: config.ExposeLoadBalancer}, around: access.Surroundings{Service: balancer()},
			want: access.Location{Missing: "the address of the load balancer"},
		},
		"a load balancer's Service that is gone": {
			exposure: config.Exposure{Type: config.ExposeLoadBalancer},
			want:     access.Location{Missing: "the address of the load balancer"},
		},
		"a load balancer with two addresses": {
			exposure: config.Exposure{Type: config.ExposeLoadBalancer, Port: 6443},
			around:   access.Surroundings{Service: balancer(corev1.LoadBalancerIngress{IP: "fd00::7"}, corev1.LoadBalancerIngress{IP: "198.51.100.7"})},
			want:     access.Location{URL: "https://[fd00::7]:6443", Names: []string{"198.51.100.7", "fd00::7"}},
		},
		"a load balancer with a name": {
			exposure: config.Exposure{Type: config.ExposeLoadBalancer},
			around:   access.Surroundings{Service: balancer(corev1.LoadBalancerIngress{Hostname: "lb.example", IP: "198.51.100.7"})},
			want:     access.Location{URL: "https://lb.example:443", Names: []string{"198.51.100.7", "lb.example"}},
		},
		"a name of the operator's for a load balancer": {
			exposure: config.Exposure{Type: config.ExposeLoadBalancer, Host: "a.example"},
			around:   access.Surroundings{Service: balancer(corev1.LoadBalancerIngress{IP: "198.51.100.7"})},
			want:     access.Location{URL: "https://a.example:443", Names: []string{"198.51.100.7", "a.example"}},
		},
		"an external address before an internal one": {
			exposure: config.Exposure{Type: config.ExposeNodePort},
			around: access.Surroundings{Service: nodePort(30443), Nodes: []*corev1.Node{
				node("a", true, internal("10.0.0.1")), node("b", true, internal("10.0.0.2"), external("198.51.100.2")), name,
			}},
			want: access.Location{URL: "https://198.51.100.2:30443", Names: []string{"10.0.0.1", "10.0.0.2", "198.51.100.2"}},
		},
		"the first node that is ready, by name": {
			exposure: config.Exposure{Type: config.ExposeNodePort},
			around: access.Surroundings{Service: nodePort(30443), Nodes: []*corev1.Node{
				node("c", true, internal("10.0.0.3")), node("b", true, internal("10.0.0.2")), node("a", false, internal("10.0.0.1")),
			}},
			want: access.Location{URL: "https://10.0.0.2:30443", Names: []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}},
		},
		"the node that clients have, while it is ready": {
			exposure: config.Exposure{Type: config.ExposeNodePort}, current: "https://10.0.0.3:30443",
			around: access.Surroundings{Service: nodePort(30443), Nodes: []*corev1.Node{node("b", true, internal("10.0.0.2")), node("c", true, internal("10.0.0.3"))}},
			want:   access.Location{URL: "https://10.0.0.3:30443", Names: []string{"10.0.0.2", "10.0.0.3"}},
		},
		"no node that is ready": {
			exposure: config.Exposure{Type: config.ExposeNodePort}, current: "https://10.0.0.2:30443",
			around: access.Surroundings{Service: nodePort(30443), Nodes: []*corev1.Node{node("b", false, internal("10.0.0.2"))}},
			want:   access.Location{Names: []string{"10.0.0.2"}, Missing: "the address of a node that is ready"},
		},
		"no node port yet": {
			exposure: config.Exposure{Type: config.ExposeNodePort, Host: "a.example"}, around: access.Surroundings{Service: nodePort(0)},
			want: access.Location{Names: []string{"a.example"}, Missing: "the node port of the Service"},
		},
		"a name of the operator's for the nodes": {
			exposure: config.Exposure{Type: config.ExposeNodePort, Host: "a.example"}, around: access.Surroundings{Service: nodePort(30443)},
			want: access.Location{URL: "https://a.example:30443", Names: []string{"a.example"}},
		},
		"something in front of the nodes": {
			exposure: config.Exposure{Type: config.ExposeNodePort, Host: "a.example", Port: 443}, around: access.Surroundings{Service: nodePort(30443)},
			want: access.Location{URL: "https://a.example:443", Names: []string{"a.example"}},
		},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			got := access.Locate(test.exposure, test.fixed, test.current, test.around)
			require.Empty(t, cmp.Diff(test.want, got, cmpopts.EquateEmpty()))
		})
	}
}
