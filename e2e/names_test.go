package e2e

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	applydiscovery "k8s.io/client-go/applyconfigurations/discovery/v1"
	"k8s.io/client-go/kubernetes"

	"nestling.dev/nestling/e2e/addon/nameserver"
	"nestling.dev/nestling/e2e/node"
	"nestling.dev/nestling/e2e/stories"
)

// simhostAPI is the ClusterIP of default/kubernetes on a simulated host.
const simhostAPI = "10.96.0.1"

// names are the nameservers around tenants, IP:PORT.
type names struct{ upstream, corp string }

// startNames serves them at an address of the test's, until it ends.
func startNames(t *testing.T, ip, apiIP string) names {
	t.Helper()
	host, err := stories.HostNames(apiIP)
	require.NoError(t, err)
	serve := func(zone string) string {
		server, err := nameserver.Start(ip, zone)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, server.Stop()) })
		return server.Address
	}
	return names{upstream: serve(host), corp: serve(stories.CorpNames)}
}

// hostDNS gives a real host the DNS that its pods' resolv.conf speaks of: a Service with
// this test behind it.
func hostDNS(t *testing.T, host *node.Host, client kubernetes.Interface) names {
	t.Helper()
	api, err := client.CoreV1().Services(metav1.NamespaceDefault).Get(t.Context(), "kubernetes", metav1.GetOptions{})
	require.NoError(t, err)
	out := startNames(t, host.MachineAddress(), api.Spec.ClusterIP)
	server, err := netip.ParseAddrPort(out.upstream)
	require.NoError(t, err)
	options := metav1.ApplyOptions{FieldManager: "stories", Force: true}
	const name = "kube-dns"
	_, err = client.CoreV1().Services(metav1.NamespaceSystem).Apply(t.Context(), applycore.Service(name, metav1.NamespaceSystem).
		WithSpec(applycore.ServiceSpec().WithClusterIP(host.ClusterDNS()).WithPorts(
			applycore.ServicePort().WithName("dns").WithPort(53).WithProtocol(corev1.ProtocolUDP),
			applycore.ServicePort().WithName("dns-tcp").WithPort(53).WithProtocol(corev1.ProtocolTCP))), options)
	require.NoError(t, err)
	port := func(name string, protocol corev1.Protocol) *applydiscovery.EndpointPortApplyConfiguration {
		return applydiscovery.EndpointPort().WithName(name).WithProtocol(protocol).WithPort(int32(server.Port()))
	}
	_, err = client.DiscoveryV1().EndpointSlices(metav1.NamespaceSystem).Apply(t.Context(), applydiscovery.EndpointSlice(name, metav1.NamespaceSystem).
		WithLabels(map[string]string{discoveryv1.LabelServiceName: name}).WithAddressType(discoveryv1.AddressTypeIPv4).
		WithEndpoints(applydiscovery.Endpoint().WithAddresses(server.Addr().String())).
		WithPorts(port("dns", corev1.ProtocolUDP), port("dns-tcp", corev1.ProtocolTCP)), options)
	require.NoError(t, err)
	return out
}

// dialFrom connects from the network namespace of a host pod: a thread goes there and
// comes back.
func dialFrom(ctx context.Context, pod *corev1.Pod, network, address string) (net.Conn, error) {
	_, container, _ := strings.Cut(pod.Status.ContainerStatuses[0].ContainerID, "://")
	pid, err := pidOf(container)
	if err != nil {
		return nil, err
	}
	there, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(there)
	runtime.LockOSThread()
	here, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer unix.Close(here)
	if err := unix.Setns(there, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	// An address that is an IP is dialled by this very thread.
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if unix.Setns(here, unix.CLONE_NEWNET) == nil {
		runtime.UnlockOSThread() // a thread that cannot come back ends with its goroutine
	}
	return conn, err
}
