package stories

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"nestling.dev/nestling/syncer/naming"
)

// behind waits until exactly these addresses stand behind a Service on the host, each of
// them once, whoever has made the slices.
func behind(t *testing.T, w *World, tenant *Tenant, space, service string, want ...string) {
	t.Helper()
	slices.Sort(want)
	eventually(t, fmt.Sprintf("%v behind %s on the host", want, service), func(ctx context.Context) (bool, string) {
		got, err := endpoints(ctx, w.Host.DiscoveryV1().EndpointSlices(w.HostNamespace).List, naming.Host(tenant.Name, space, service))
		return err == nil && slices.Equal(want, got), fmt.Sprint(got) + errText(err)
	})
}

func withoutSelector(t *testing.T, w *World) {
	space := namespace(t, w.A, "external")
	client := w.A.Client.CoreV1()
	service, err := client.Services(space).Create(t.Context(), decode[corev1.Service](t, w, `
metadata: {name: db}
spec: {ports: [{name: http, port: 80}]}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	for _, name := range []string{"one", "two"} {
		createPod(t, w, w.A, space, `
metadata: {name: `+name+`}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: IMAGE, command: [agnhost, netexec, --http-port=8080], readinessProbe: {httpGet: {port: 8080}, PROBE}}]}
`)
	}
	one, two := waitPod(t, w.A, space, "one", "is ready", isReady), waitPod(t, w.A, space, "two", "is ready", isReady)
	_, err = client.Endpoints(space).Create(t.Context(), decode[corev1.Endpoints](t, w, `
metadata: {name: db}
subsets: [{addresses: [{ip: `+one.Status.PodIP+`}, {ip: 203.0.113.7}], ports: [{name: http, port: 8080}]}]
`), metav1.CreateOptions{})
	require.NoError(t, err)
	// Those that the virtual cluster makes of them, once: the host makes none of its own.
	behind(t, w, w.A, space, "db", one.Status.PodIP, "203.0.113.7")
	_, err = client.Endpoints(space).Patch(t.Context(), "db", types.MergePatchType, []byte(`{"subsets":[{"addresses":[{"ip":"`+two.Status.PodIP+`"}],"ports":[{"name":"http","port":8080}]}]}`), metav1.PatchOptions{})
	require.NoError(t, err)
	behind(t, w, w.A, space, "db", two.Status.PodIP)
	ask := func(want string) {
		t.Helper()
		if w.Real {
			pod := runPod(t, w, w.A, space, "{metadata: {name: client-"+want+"}, spec: {containers: [{name: main, image: IMAGE}]}}")
			eventuallyShell(t, w.A, pod, "curl -sS -m 5 http://"+service.Spec.ClusterIP+"/hostname", want)
		}
	}
	ask("two")
	// By hand, beside them.
	_, err = w.A.Client.DiscoveryV1().EndpointSlices(space).Create(t.Context(), decode[discoveryv1.EndpointSlice](t, w, `
metadata: {name: by-hand, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
endpoints: [{addresses: [`+one.Status.PodIP+`]}]
ports: [{name: http, port: 8080}]
`), metav1.CreateOptions{})
	require.NoError(t, err)
	behind(t, w, w.A, space, "db", one.Status.PodIP, two.Status.PodIP)
	require.NoError(t, client.Endpoints(space).Delete(t.Context(), "db", metav1.DeleteOptions{}))
	behind(t, w, w.A, space, "db", one.Status.PodIP)
	ask("one")

	// A selector takes over, and what was by hand stays beside it.
	require.NoError(t, w.A.Client.DiscoveryV1().EndpointSlices(space).Delete(t.Context(), "by-hand", metav1.DeleteOptions{}))
	behind(t, w, w.A, space, "db")
	patchPod(t, w.A, two, `{"metadata":{"labels":{"app":"db"}}}`)
	_, err = client.Services(space).Patch(t.Context(), "db", types.MergePatchType, []byte(`{"spec":{"selector":{"app":"db"},"ports":[{"name":"http","port":80,"targetPort":8080}]}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	behind(t, w, w.A, space, "db", two.Status.PodIP)
}

// foreignEndpoints names what a pod of the tenant could not reach behind policies, and
// what the node trusts.
func foreignEndpoints(t *testing.T, w *World) {
	space, other := namespace(t, w.A, "grasping"), namespace(t, w.B, "victim")
	createPod(t, w, w.B, other, "{metadata: {name: victim}, spec: {containers: [{name: main, image: IMAGE}]}}")
	victim := waitPod(t, w.B, other, "victim", "is ready", isReady)
	addresses := []string{nodeAddress(t, w)}
	nodes, err := w.Host.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	if len(nodes.Items[0].Spec.PodCIDRs) > 0 { // or nobody knows that it is a pod's
		addresses = append(addresses, victim.Status.PodIP)
	}
	_, err = w.A.Client.CoreV1().Services(space).Create(t.Context(), decode[corev1.Service](t, w, "{metadata: {name: way-out}, spec: {ports: [{port: 80}]}}"), metav1.CreateOptions{})
	require.NoError(t, err)
	slice := decode[discoveryv1.EndpointSlice](t, w, `
metadata: {name: way-out, labels: {kubernetes.io/service-name: way-out}}
addressType: IPv4
endpoints: [{addresses: [203.0.113.7]}]
ports: [{port: 10250}]
`)
	for _, address := range addresses {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}})
	}
	_, err = w.A.Client.DiscoveryV1().EndpointSlices(space).Create(t.Context(), slice, metav1.CreateOptions{})
	require.NoError(t, err)
	behind(t, w, w.A, space, "way-out", "203.0.113.7")
	for _, special := range []string{"127.0.0.1", "169.254.169.254", "0.0.0.0"} {
		_, err = w.A.Client.DiscoveryV1().EndpointSlices(space).Create(t.Context(), decode[discoveryv1.EndpointSlice](t, w, `
metadata: {generateName: special-, labels: {kubernetes.io/service-name: way-out}}
addressType: IPv4
endpoints: [{addresses: [`+special+`]}]
`), metav1.CreateOptions{})
		require.True(t, apierrors.IsInvalid(err), "%s: %v", special, err)
	}
	// A slice that pretends to be of the Service that leads to the other's API server.
	_, err = w.A.Client.DiscoveryV1().EndpointSlices(space).Create(t.Context(), decode[discoveryv1.EndpointSlice](t, w, `
metadata: {name: cuckoo, labels: {kubernetes.io/service-name: `+w.B.Name+`}}
addressType: IPv4
endpoints: [{addresses: [203.0.113.8]}]
ports: [{name: https, port: 8443}]
`), metav1.CreateOptions{})
	require.NoError(t, err)
	behind(t, w, w.A, space, "way-out", "203.0.113.7")
	found, err := endpoints(t.Context(), w.Host.DiscoveryV1().EndpointSlices(w.HostNamespace).List, w.B.Name)
	require.NoError(t, err)
	require.NotContains(t, found, "203.0.113.8")
}

// leftOver plays a process that died between the host's answer and the tenant's write.
func leftOver(t *testing.T, w *World) {
	space := namespace(t, w.A, "left")
	model, err := w.A.Client.CoreV1().Services(space).Create(t.Context(), decode[corev1.Service](t, w, "{metadata: {name: web}, spec: {ports: [{port: 80}]}}"), metav1.CreateOptions{})
	require.NoError(t, err)
	host := hostServiceOf(t, w, w.A, model)
	host.ObjectMeta = metav1.ObjectMeta{Name: naming.Host(w.A.Name, space, "never"), Labels: host.Labels, Annotations: host.Annotations, OwnerReferences: host.OwnerReferences}
	host.Annotations["nestling.dev/name"] = "never"
	delete(host.Annotations, "nestling.dev/uid")
	host.Spec = corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}
	left, err := w.Host.CoreV1().Services(w.HostNamespace).Create(t.Context(), host, metav1.CreateOptions{})
	require.NoError(t, err)
	eventually(t, "the left over Service to go", func(ctx context.Context) (bool, string) {
		_, err := w.Host.CoreV1().Services(w.HostNamespace).Get(ctx, left.Name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), "it is " + metav1.Now().Sub(left.CreationTimestamp.Time).String() + " old"
	})
}
