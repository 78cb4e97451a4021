package stories

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// services are reached at addresses of the host's.
func services() []Story {
	return []Story{
		{Name: "a pod reaches a Service at its address, which its variables tell", Real: true, Run: reachedService},
		{Name: "a Service has its addresses in the first answer, whatever its type becomes", Run: typesOfServices},
		{Name: "kubectl apply makes and changes Services", Real: true, Run: appliedService},
		{Name: "a load balancer's address comes back, and goes", Run: loadBalancer},
		{Name: "session affinity, node ports and headless Services are the host's", Real: true, Run: reachedInEveryWay},
		{Name: "a Service without selector leads where the tenant says", Run: withoutSelector},
		{Name: "endpoints of the tenant's do not lead to what is not the tenant's", Run: foreignEndpoints},
		{Name: "a host Service of a request that came to nothing is swept", Real: true, Run: leftOver},
	}
}

func reachedService(t *testing.T, w *World) {
	space := namespace(t, w.A, "service")
	service, err := w.A.Client.CoreV1().Services(space).Create(t.Context(), decode[corev1.Service](t, w, `
metadata: {name: web-shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	require.NotEmpty(t, service.Spec.ClusterIP, "known when it is made")
	for _, name := range []string{"one", "two"} {
		runPod(t, w, w.A, space, `
metadata: {name: `+name+`, labels: {app: web}}
spec: {containers: [{name: main, image: IMAGE, command: [agnhost, netexec, --http-port=8080], ports: [{name: http, containerPort: 8080}], readinessProbe: {httpGet: {port: 8080}, PROBE}}]}
`)
	}
	client := runPod(t, w, w.A, space, "{metadata: {name: client}, spec: {containers: [{name: main, image: IMAGE}]}}")
	require.Equal(t, service.Spec.ClusterIP+" 80 80 tcp://"+service.Spec.ClusterIP+":80",
		shell(t, w.A, client, "", "echo $WEB_SHOP_SERVICE_HOST $WEB_SHOP_SERVICE_PORT $WEB_SHOP_SERVICE_PORT_HTTP $WEB_SHOP_PORT_80_TCP"))
	seen := map[string]bool{}
	eventually(t, "answers of both", func(ctx context.Context) (bool, string) {
		answer, err := tryShell(ctx, w.A, client, "", "curl -sS -m 5 http://$WEB_SHOP_SERVICE_HOST/hostname")
		if err == nil {
			seen[answer] = true
		}
		return seen["one"] && seen["two"], answer + errText(err)
	})
	require.Len(t, seen, 2)

	// One that is not ready gets none.
	require.NoError(t, w.A.Client.CoreV1().Pods(space).Delete(t.Context(), "two", metav1.DeleteOptions{}))
	waitPodGone := func(ctx context.Context) (bool, string) {
		for range 10 {
			if answer, err := tryShell(ctx, w.A, client, "", "curl -sS -m 5 http://$WEB_SHOP_SERVICE_HOST/hostname"); answer != "one" {
				return false, answer + errText(err)
			}
		}
		return true, ""
	}
	eventually(t, "answers of one alone", waitPodGone)
}
