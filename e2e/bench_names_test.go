package e2e

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"nestling.dev/nestling/e2e/bench"
	"nestling.dev/nestling/e2e/dnsload"
	"nestling.dev/nestling/e2e/node"
	"nestling.dev/nestling/e2e/stories"
)

const (
	namesRate = 1000 // queries per second
	namesTime = time.Minute
)

// benchNames asks a tenant's DNS from one of its pods, through its Service.
func benchNames(t *testing.T, host kubernetes.Interface, tenant *stories.Tenant) {
	t.Helper()
	pods := tenant.Client.CoreV1().Pods(metav1.NamespaceDefault)
	pod, err := pods.Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "client"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: node.AgnhostImage}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	var there *corev1.Pod
	require.Eventually(t, func() bool {
		all, err := host.CoreV1().Pods(hostNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: "nestling.dev/tenant=" + tenant.Name})
		if err != nil {
			return false
		}
		for i := range all.Items {
			if all.Items[i].Annotations["nestling.dev/uid"] == string(pod.UID) && all.Items[i].Status.Phase == corev1.PodRunning {
				there = &all.Items[i]
			}
		}
		return there != nil
	}, startPatience, 100*time.Millisecond)
	service, err := tenant.Client.CoreV1().Services("kube-system").Get(t.Context(), "kube-dns", metav1.GetOptions{})
	require.NoError(t, err)
	reverse, err := dns.ReverseAddr(service.Spec.ClusterIP)
	require.NoError(t, err)
	result, err := dnsload.Run(t.Context(), dnsload.Load{
		Server: net.JoinHostPort(service.Spec.ClusterIP, "53"), Rate: namesRate, Duration: namesTime,
		Questions: []dnsload.Question{
			{Name: "kubernetes.default.svc.cluster.local", Type: dns.TypeA},
			{Name: "_dns._udp.kube-dns.kube-system.svc.cluster.local", Type: dns.TypeSRV},
			{Name: reverse, Type: dns.TypePTR},
		},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialFrom(ctx, there, network, address)
		},
	})
	require.NoError(t, err)
	bench.Report(t, "real node: DNS, asked by a pod of %s: %s", tenant.Name, result)
}
