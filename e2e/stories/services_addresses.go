package stories

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"

	"nestling.dev/nestling/syncer/naming"
)

// addresses is all of a Service that the host gives out.
func addresses(service *corev1.Service) string {
	out := fmt.Sprint(service.Spec.ClusterIPs, service.Spec.HealthCheckNodePort)
	for _, port := range service.Spec.Ports {
		out += fmt.Sprintf(" %s/%d>%d", port.Protocol, port.Port, port.NodePort)
	}
	return out
}

// hostServiceOf is the host's of a virtual Service.
func hostServiceOf(t *testing.T, w *World, tenant *Tenant, virtual *corev1.Service) *corev1.Service {
	t.Helper()
	host, err := w.Host.CoreV1().Services(w.HostNamespace).Get(t.Context(), naming.Host(tenant.Name, virtual.Namespace, virtual.Name), metav1.GetOptions{})
	require.NoError(t, err)
	return host
}

// waitSynced waits until the syncer knows a Service, whose host Service is admission's.
func waitSynced(t *testing.T, w *World, tenant *Tenant, virtual *corev1.Service) {
	t.Helper()
	eventually(t, "the syncer to know Service "+virtual.Name, func(context.Context) (bool, string) {
		host := hostServiceOf(t, w, tenant, virtual)
		return host.Annotations["nestling.dev/uid"] == string(virtual.UID), asJSON(host.ObjectMeta)
	})
}

func typesOfServices(t *testing.T, w *World) {
	space := namespace(t, w.A, "types")
	services := w.A.Client.CoreV1().Services(space)
	virtual, err := services.Apply(t.Context(), corev1apply.Service("web", space).WithSpec(corev1apply.ServiceSpec().
		WithSelector(map[string]string{"app": "web"}).WithPorts(corev1apply.ServicePort().WithPort(80).WithProtocol("TCP"))), metav1.ApplyOptions{FieldManager: "story"})
	require.NoError(t, err)
	host := hostServiceOf(t, w, w.A, virtual)
	require.Equal(t, addresses(host), addresses(virtual))
	for _, spec := range []string{
		`{"type":"NodePort"}`, `{"type":"LoadBalancer","externalTrafficPolicy":"Local"}`, `{"type":"NodePort","externalTrafficPolicy":"Cluster"}`,
		`{"type":"ClusterIP"}`, `{"type":"LoadBalancer","allocateLoadBalancerNodePorts":false}`, `{"type":"ClusterIP"}`,
	} {
		changed, err := services.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"spec":`+spec+`}`), metav1.PatchOptions{})
		require.NoError(t, err, spec)
		require.Equal(t, virtual.UID, changed.UID)
		require.Equal(t, virtual.Spec.ClusterIP, changed.Spec.ClusterIP)
		eventually(t, "both sides to agree after "+spec, func(context.Context) (bool, string) {
			now := hostServiceOf(t, w, w.A, virtual)
			require.Equal(t, host.UID, now.UID, "it is the same Service all along")
			return now.Spec.Type == changed.Spec.Type && addresses(now) == addresses(changed), cmp.Diff(changed.Spec, now.Spec)
		})
	}
	// A dry run promises, and leaves nothing.
	tried, err := services.Create(t.Context(), decode[corev1.Service](t, w, `{metadata: {name: tried}, spec: {type: NodePort, ports: [{port: 80}]}}`), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	require.NoError(t, err)
	require.NotEmpty(t, tried.Spec.ClusterIP)
	_, err = w.Host.CoreV1().Services(w.HostNamespace).Get(t.Context(), naming.Host(w.A.Name, space, "tried"), metav1.GetOptions{})
	require.Error(t, err)
	// A name of something elsewhere is the tenant's own; so is what was refused.
	_, err = services.Create(t.Context(), decode[corev1.Service](t, w, `{metadata: {name: elsewhere}, spec: {type: ExternalName, externalName: kubernetes.default.svc}}`), metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = services.Create(t.Context(), decode[corev1.Service](t, w, `{metadata: {name: thief}, spec: {externalIPs: [203.0.113.1], ports: [{port: 80}]}}`), metav1.CreateOptions{})
	require.ErrorContains(t, err, "spec.externalIPs is not allowed")
	_, err = services.Create(t.Context(), decode[corev1.Service](t, w, `{metadata: {name: last}, spec: {ports: [{port: 80}]}}`), metav1.CreateOptions{})
	require.NoError(t, err)
	for _, name := range []string{"elsewhere", "thief"} {
		_, err = w.Host.CoreV1().Services(w.HostNamespace).Get(t.Context(), naming.Host(w.A.Name, space, name), metav1.GetOptions{})
		require.Error(t, err, name)
	}
}

func appliedService(t *testing.T, w *World) {
	space := namespace(t, w.A, "applied")
	file := func(kind string) string {
		return `{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: ` + kind + `, selector: {app: web}, ports: [{port: 80}]}}`
	}
	seen := func() string {
		return kubectl(t, w, w.A, space, "get", "service", "web", "-o", "jsonpath={.metadata.uid} {.spec.clusterIP}")
	}
	require.Contains(t, kubectlInput(t, w, w.A, space, file("ClusterIP"), "apply", "-f", "-"), "created")
	first := seen()
	require.NotEmpty(t, strings.Fields(first)[1])
	for _, kind := range []string{"NodePort", "LoadBalancer", "ClusterIP"} {
		kubectlInput(t, w, w.A, space, file(kind), "apply", "-f", "-")
		require.Equal(t, first, seen())
	}
	kubectlInput(t, w, w.A, space, file("NodePort"), "apply", "--server-side", "--force-conflicts", "-f", "-")
	require.Equal(t, first, seen())
	kubectlInput(t, w, w.A, space, file("NodePort"), "diff", "-f", "-") // fails if there were anything to do
	kubectlInput(t, w, w.A, space, file("NodePort"), "replace", "-f", "-")
	require.Equal(t, first, seen())
	service, err := w.A.Client.CoreV1().Services(space).Get(t.Context(), "web", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, addresses(service), addresses(hostServiceOf(t, w, w.A, service)))
}

func loadBalancer(t *testing.T, w *World) {
	space := namespace(t, w.A, "balanced")
	services := w.A.Client.CoreV1().Services(space)
	_, err := services.Create(t.Context(), decode[corev1.Service](t, w, `
metadata: {name: web}
spec: {type: LoadBalancer, selector: {app: web}, loadBalancerSourceRanges: [10.0.0.0/8], ports: [{name: http, port: 80, targetPort: 8080}]}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	var service *corev1.Service
	address := func(want int) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d addresses of the load balancer", want), func(ctx context.Context) (bool, string) {
			service, err = services.Get(ctx, "web", metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			host := hostServiceOf(t, w, w.A, service)
			return len(service.Status.LoadBalancer.Ingress) == want, asJSON([]any{service.Status, host.Spec.Type, host.Status, host.Finalizers, host.DeletionTimestamp})
		})
	}
	address(1)
	ip := service.Status.LoadBalancer.Ingress[0].IP
	require.Equal(t, []string{"10.0.0.0/8"}, hostServiceOf(t, w, w.A, service).Spec.LoadBalancerSourceRanges)
	waitEvent(t, w.A, space, "web", "EnsuredLoadBalancer", "Ensured load balancer of "+space+"/web")
	if w.Real {
		runPod(t, w, w.A, space, `
metadata: {name: web, labels: {app: web}}
spec: {containers: [{name: main, image: IMAGE, command: [agnhost, netexec, --http-port=8080], readinessProbe: {httpGet: {port: 8080}, PROBE}}]}
`)
		client := runPod(t, w, w.A, space, "{metadata: {name: client}, spec: {containers: [{name: main, image: IMAGE}]}}")
		eventuallyShell(t, w.A, client, "curl -sS -m 5 http://"+ip+"/hostname", "web")
	}
	// Another class is another controller's.
	_, err = services.Create(t.Context(), decode[corev1.Service](t, w, `
metadata: {name: other}
spec: {type: LoadBalancer, loadBalancerClass: example.org/lb, ports: [{port: 80}]}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	other, err := services.Get(t.Context(), "other", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "example.org/lb", *hostServiceOf(t, w, w.A, other).Spec.LoadBalancerClass)
	require.Empty(t, other.Status.LoadBalancer.Ingress)

	// As fast as that, while the host's own controllers write the same object: what the
	// answers have promised is what there is in the end.
	for range 5 {
		_, err = services.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"spec":{"type":"ClusterIP","loadBalancerSourceRanges":null}}`), metav1.PatchOptions{})
		require.NoError(t, err)
		address(0)
		promised, err := services.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"spec":{"type":"LoadBalancer"}}`), metav1.PatchOptions{})
		require.NoError(t, err)
		address(1)
		require.Equal(t, addresses(promised), addresses(hostServiceOf(t, w, w.A, promised)))
	}
	// The host cleans up before its Service goes; then the name is free.
	require.NoError(t, services.Delete(t.Context(), "web", metav1.DeleteOptions{}))
	eventually(t, "a Service of the same name", func(ctx context.Context) (bool, string) {
		_, err := services.Create(ctx, decode[corev1.Service](t, w, "{metadata: {name: web}, spec: {ports: [{port: 80}]}}"), metav1.CreateOptions{})
		return err == nil, errText(err)
	})
}

func reachedInEveryWay(t *testing.T, w *World) {
	space := namespace(t, w.A, "ways")
	client := w.A.Client.CoreV1()
	for _, manifest := range []string{
		"{metadata: {name: sticky}, spec: {selector: {app: web}, sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}, ports: [{port: 80, targetPort: 8080}]}}",
		"{metadata: {name: node}, spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: http}]}}",
		"{metadata: {name: early}, spec: {selector: {app: early}, publishNotReadyAddresses: true, ports: [{port: 80, targetPort: 8080}]}}",
		"{metadata: {name: headless}, spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}}",
	} {
		_, err := client.Services(space).Create(t.Context(), decode[corev1.Service](t, w, manifest), metav1.CreateOptions{})
		require.NoError(t, err)
	}
	for _, name := range []string{"one", "two", "three"} {
		runPod(t, w, w.A, space, `
metadata: {name: `+name+`, labels: {app: web}}
spec: {containers: [{name: main, image: IMAGE, command: [agnhost, netexec, --http-port=8080], ports: [{name: http, containerPort: 8080}], readinessProbe: {httpGet: {port: 8080}, PROBE}}]}
`)
	}
	createPod(t, w, w.A, space, `
metadata: {name: early, labels: {app: early}}
spec: {containers: [{name: main, image: IMAGE, command: [agnhost, netexec, --http-port=8080], readinessProbe: {exec: {command: ["false"]}}}]}
`)
	pod := runPod(t, w, w.A, space, "{metadata: {name: client}, spec: {containers: [{name: main, image: IMAGE}]}}")
	at := func(name string) *corev1.Service {
		service, err := client.Services(space).Get(t.Context(), name, metav1.GetOptions{})
		require.NoError(t, err)
		return service
	}
	ask := func(address string) string { return "curl -sS -m 5 http://" + address + "/hostname" }
	eventually(t, "one and the same answer ten times", func(ctx context.Context) (bool, string) {
		answers, err := tryShell(ctx, w.A, pod, "", "for i in $(seq 10); do "+ask(at("sticky").Spec.ClusterIP)+"; echo; done | sort -u")
		return err == nil && len(strings.Fields(answers)) == 1, answers + errText(err)
	})
	node := nodeAddress(t, w)
	eventually(t, "an answer at the node port", func(ctx context.Context) (bool, string) {
		answer, err := tryShell(ctx, w.A, pod, "", ask(fmt.Sprintf("%s:%d", node, at("node").Spec.Ports[0].NodePort)))
		return err == nil && len(answer) > 0, answer + errText(err)
	})
	eventuallyShell(t, w.A, pod, ask(at("early").Spec.ClusterIP), "early")
	host := hostServiceOf(t, w, w.A, at("headless"))
	require.Equal(t, corev1.ClusterIPNone, host.Spec.ClusterIP)
}

func nodeAddress(t *testing.T, w *World) string {
	t.Helper()
	nodes, err := w.Host.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	for _, address := range nodes.Items[0].Status.Addresses {
		if address.Type == corev1.NodeInternalIP {
			return address.Address
		}
	}
	t.Fatal("the node has no address")
	return ""
}
