package stories

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
)

const (
	settle = 20 * time.Second      // for informers of the servers
	tick   = 20 * time.Millisecond // between looks
)

// The plugin has to guess what upstream's registry will make of an update that leaves
// addresses out. Whatever users send: if it is accepted, both sides agree, once the
// syncer has done its part.
func TestAnyUpdateEndsInAgreement(t *testing.T) {
	t.Parallel()
	namespace := shared.namespace(t)
	services := shared.virtual.CoreV1().Services(namespace)
	round := 0
	rapid.Check(t, func(r *rapid.T) {
		round++
		name := fmt.Sprintf("web-%d", round)
		live := shared.create(t, namespace, service(name, corev1.ServiceSpec{Ports: []corev1.ServicePort{port("a", 80)}}))
		for range rapid.IntRange(1, 5).Draw(r, "updates") {
			wanted := live.DeepCopy()
			wanted.Spec = drawSpec(r, live)
			updated, err := services.Update(t.Context(), wanted, metav1.UpdateOptions{})
			if err != nil {
				if !strings.HasPrefix(err.Error(), "duplicate nodePort") { // upstream's, before it validates
					require.True(r, apierrors.IsInvalid(err), "%v", err)
				}
				continue
			}
			live = updated
			if hasAddress(live) {
				if before := shared.hostOf(t, namespace, name); before.Spec.Type != corev1.ServiceTypeExternalName {
					requireGiven(r, before, live)
				}
			}
			shared.sync(t, live)
			if hasAddress(live) {
				shared.requireAgreement(t, live)
			}
		}
		require.NoError(t, services.Delete(t.Context(), name, metav1.DeleteOptions{}))
		require.NoError(t, shared.host.CoreV1().Services(hostNamespace).Delete(t.Context(), shared.hostOf(t, namespace, name).Name, metav1.DeleteOptions{}))
	})
}

func hasAddress(service *corev1.Service) bool {
	return service.Spec.Type != corev1.ServiceTypeExternalName && service.Spec.ClusterIP != corev1.ClusterIPNone
}

// requireGiven checks that every address was the host's before the syncer came.
func requireGiven(t require.TestingT, host, virtual *corev1.Service) {
	require.Equal(t, host.Spec.ClusterIP, virtual.Spec.ClusterIP)
	given := map[int32]bool{0: true}
	for _, port := range host.Spec.Ports {
		given[port.NodePort] = true
	}
	for _, port := range virtual.Spec.Ports {
		require.True(t, given[port.NodePort], "node port %d is not of the host's %v", port.NodePort, host.Spec.Ports)
	}
	if virtual.Spec.HealthCheckNodePort != 0 {
		require.Equal(t, host.Spec.HealthCheckNodePort, virtual.Spec.HealthCheckNodePort)
	}
}

// drawSpec is a spec as somebody might send it: addresses as they are, or left out.
func drawSpec(r *rapid.T, live *corev1.Service) corev1.ServiceSpec {
	spec := corev1.ServiceSpec{
		Type: rapid.SampledFrom([]corev1.ServiceType{
			corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeExternalName,
		}).Draw(r, "type"),
	}
	if spec.Type == corev1.ServiceTypeExternalName {
		spec.ExternalName = "example.com"
	} else if rapid.Bool().Draw(r, "with addresses") {
		spec.ClusterIP, spec.ClusterIPs, spec.HealthCheckNodePort = live.Spec.ClusterIP, live.Spec.ClusterIPs, live.Spec.HealthCheckNodePort
	}
	if spec.Type == corev1.ServiceTypeLoadBalancer {
		spec.ExternalTrafficPolicy = rapid.SampledFrom([]corev1.ServiceExternalTrafficPolicy{"", "Local", "Cluster"}).Draw(r, "policy")
		spec.AllocateLoadBalancerNodePorts = rapid.SampledFrom([]*bool{nil, new(true), new(false)}).Draw(r, "allocate")
	}
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), 1, 3, rapid.ID).Draw(r, "ports") {
		next := corev1.ServicePort{
			Name: name, Port: rapid.Int32Range(80, 82).Draw(r, "port"),
			Protocol: rapid.SampledFrom([]corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP}).Draw(r, "protocol"),
		}
		if len(live.Spec.Ports) > 0 && rapid.Bool().Draw(r, "with node port") {
			next.NodePort = rapid.SampledFrom(live.Spec.Ports).Draw(r, "of").NodePort
		}
		spec.Ports = append(spec.Ports, next)
	}
	return spec
}
