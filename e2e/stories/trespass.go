package stories

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"nestling.dev/nestling/syncer/naming"
)

// borrowedLabels tries to become an endpoint of the other tenant's API, and to be
// taken for its pod, by labels and annotations.
func borrowedLabels(t *testing.T, w *World) {
	space := namespace(t, w.A, "borrowed")
	loot := map[string]string{
		"nestling.dev/control-plane": w.B.Name,
		"nestling.dev/tenant":        w.B.Name,
		"nestling.dev/namespace":     "default",
		"nestling.dev/uid":           "12345678-1234-1234-1234-123456789012",
		"nestling.dev/identity":      "12345678-1234-1234-1234-123456789012",
		"nestling.dev/kind":          "Service",
		"nestling.dev/copied":        "l.nestling.dev",
	}
	pod := decode[corev1.Pod](t, w, `
metadata: {name: cuckoo, labels: {app: cuckoo}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: IMAGE, ports: [{name: https, containerPort: 8443}]}]
`)
	maps.Copy(pod.Labels, loot)
	pod.Annotations = loot
	_, err := w.A.Client.CoreV1().Pods(space).Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
	requireHonest := func(when string) {
		t.Helper()
		pod := waitPod(t, w.A, space, "cuckoo", "is ready", isReady)
		require.Equal(t, w.B.Name, pod.Labels["nestling.dev/control-plane"], "the tenant's own labels stay as they are")
		host := hostPodOf(t, w, w.A, pod)
		require.NotContains(t, host.Labels, "nestling.dev/control-plane", when)
		require.Equal(t, w.A.Name, host.Labels["nestling.dev/tenant"], when)
		require.Equal(t, space, host.Labels["nestling.dev/namespace"], when)
		require.Equal(t, "Pod", host.Annotations["nestling.dev/kind"], when)
		for _, service := range []string{w.A.Name, w.B.Name} {
			found, err := endpoints(t.Context(), w.Host.DiscoveryV1().EndpointSlices(w.HostNamespace).List, service)
			require.NoError(t, err)
			require.NotContains(t, found, pod.Status.PodIP, when)
		}
	}
	requireHonest("when created")
	patch := fmt.Sprintf(`{"metadata":{"labels":{"nestling.dev/control-plane":%q,"nestling.dev/tenant":%q,"new":"label"}}}`, w.B.Name, w.B.Name)
	_, err = w.A.Client.CoreV1().Pods(space).Patch(t.Context(), "cuckoo", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	require.NoError(t, err)
	eventually(t, "the other label on the host", func(ctx context.Context) (bool, string) {
		host, err := w.Host.CoreV1().Pods(w.HostNamespace).Get(ctx, naming.Host(w.A.Name, space, "cuckoo"), metav1.GetOptions{})
		return err == nil && host.Labels["new"] == "label", errText(err)
	})
	requireHonest("when patched")

	// A selector cannot reach out either: to the control plane of the other, or to its pods.
	for name, selector := range map[string]map[string]string{
		"of-control-plane": {"nestling.dev/control-plane": w.B.Name},
		"of-pods":          {"nestling.dev/tenant": w.B.Name},
	} {
		_, err := w.A.Client.CoreV1().Services(space).Create(t.Context(), &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       corev1.ServiceSpec{Selector: selector, Ports: []corev1.ServicePort{{Port: 443}}},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
		eventually(t, "host Service of "+name, func(ctx context.Context) (bool, string) {
			host, err := w.Host.CoreV1().Services(w.HostNamespace).Get(ctx, naming.Host(w.A.Name, space, name), metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			require.Equal(t, w.A.Name, host.Spec.Selector["nestling.dev/tenant"])
			require.Equal(t, space, host.Spec.Selector["nestling.dev/namespace"])
			return true, ""
		})
	}
}

// hostSecrets names what is in the host namespace, from everywhere in a pod.
func hostSecrets(t *testing.T, w *World) {
	space := namespace(t, w.A, "loot")
	// A ServiceAccount by the name of the other's process: it is the tenant's own.
	_, err := w.A.Client.CoreV1().ServiceAccounts(space).Create(t.Context(),
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: w.B.Name}}, metav1.CreateOptions{})
	require.NoError(t, err)
	kubeconfig, pki := w.B.Name+"-kubeconfig", w.B.Name+"-pki"
	made := createPod(t, w, w.A, space, `
metadata: {name: env}
spec:
  serviceAccountName: `+w.B.Name+`
  imagePullSecrets: [{name: `+pki+`}]
  containers:
  - name: main
    image: IMAGE
    env: [{name: STOLEN, valueFrom: {secretKeyRef: {name: `+kubeconfig+`, key: config}}}]
    envFrom: [{secretRef: {name: `+pki+`}}, {configMapRef: {name: `+w.B.Name+`-config}}]
`)
	volumes := createPod(t, w, w.A, space, `
metadata: {name: volumes}
spec:
  containers: [{name: main, image: IMAGE, volumeMounts: [{name: a, mountPath: /a}, {name: b, mountPath: /b}]}]
  volumes:
  - {name: a, secret: {secretName: `+pki+`}}
  - {name: b, projected: {sources: [{secret: {name: `+kubeconfig+`}}, {configMap: {name: `+w.B.Name+`-config}}]}}
`)
	for _, pod := range []*corev1.Pod{made, volumes} {
		var host *corev1.Pod
		eventually(t, "host pod of "+pod.Name, func(ctx context.Context) (bool, string) {
			var err error
			host, err = w.Host.CoreV1().Pods(w.HostNamespace).Get(ctx, naming.Host(w.A.Name, space, pod.Name), metav1.GetOptions{})
			return err == nil, errText(err)
		})
		require.Equal(t, w.A.Name+"-workload", host.Spec.ServiceAccountName)
		require.False(t, *host.Spec.AutomountServiceAccountToken)
		spec := asJSON(host.Spec)
		for _, name := range []string{kubeconfig, pki, w.B.Name + "-config", w.A.Name + "-pki"} {
			require.NotContains(t, spec, `"`+name+`"`)
		}
		for _, volume := range host.Spec.Volumes {
			if volume.Projected != nil {
				for _, source := range volume.Projected.Sources {
					require.Nil(t, source.ServiceAccountToken, "a token of the host's")
				}
			}
		}
	}
	if w.Real {
		waitEvent(t, w.A, space, "env", "Failed", `secret "`)
		waitEvent(t, w.A, space, "volumes", "FailedMount", `secret "`+pki+`" not found`)
		for _, name := range []string{"env", "volumes"} {
			pod, err := w.A.Client.CoreV1().Pods(space).Get(t.Context(), name, metav1.GetOptions{})
			require.NoError(t, err)
			require.Equal(t, corev1.PodPending, pod.Status.Phase)
		}
	}
}

// dialTimeout is how long an API server tries to reach a node: what takes as long was tried.
const dialTimeout = 30 * time.Second

// nodeProxy asks the kubelet API, as far as the tenant's nodes have one, for pods of
// the other tenant and of the host.
func nodeProxy(t *testing.T, w *World) {
	space := namespace(t, w.B, "victim")
	victim := runPod(t, w, w.B, space, `
metadata: {name: victim}
spec: {containers: [{name: main, image: IMAGE}]}
`)
	host := hostPodOf(t, w, w.B, victim)
	targets := []string{
		w.HostNamespace + "/" + host.Name + "/main", space + "/victim/main",
		w.HostNamespace + "/" + w.B.Name + "-0/nestling", w.HostNamespace + "/" + w.A.Name + "-0/nestling",
	}
	client := w.A.Client.CoreV1().RESTClient()
	requireRefused := func(verb, path string, query ...string) {
		t.Helper()
		request := client.Verb(verb).AbsPath(path)
		for i := 0; i < len(query); i += 2 {
			request = request.Param(query[i], query[i+1])
		}
		begin := time.Now()
		answer, err := request.DoRaw(t.Context())
		require.Less(t, time.Since(begin), dialTimeout, "%s %s: %v", verb, path, err)
		require.Error(t, err, "%s %s: %.200s", verb, path, answer)
		require.True(t, apierrors.IsNotFound(err) || apierrors.IsForbidden(err) || apierrors.IsMethodNotSupported(err) || apierrors.IsBadRequest(err),
			"%s %s: %v", verb, path, err)
	}
	for _, node := range nodeNames(t, w)[:1] { // one server stands for all
		for _, name := range []string{node, node + ":10250", "https:" + node + ":10250"} {
			proxy := "/api/v1/nodes/" + name + "/proxy"
			for _, path := range []string{"/pods", "/runningpods/", "/metrics", "/metrics/cadvisor", "/stats/summary", "/configz", "/logs/", "/debug/pprof/heap", "/../pods", "/%2e%2e/pods"} {
				requireRefused("GET", proxy+path)
			}
			for _, target := range targets {
				requireRefused("GET", proxy+"/containerLogs/"+target)
				requireRefused("POST", proxy+"/exec/"+target, "command", "id", "output", "1")
				requireRefused("GET", proxy+"/exec/"+target, "command", "id", "output", "1")
				requireRefused("POST", proxy+"/attach/"+target, "output", "1")
				requireRefused("POST", proxy+"/run/"+target, "cmd", "id")
				requireRefused("POST", proxy+"/portForward/"+target[:strings.LastIndex(target, "/")])
				requireRefused("POST", proxy+"/checkpoint/"+target)
			}
		}
	}
	// The way itself is open: it is not for a mistake of this story that all is refused.
	own := runPod(t, w, w.A, namespace(t, w.A, "owner"), `
metadata: {name: own}
spec: {containers: [{name: main, image: IMAGE}]}
`)
	_, err := client.Get().AbsPath("/api/v1/nodes/" + own.Spec.NodeName + "/proxy/containerLogs/" + own.Namespace + "/own/main").DoRaw(t.Context())
	require.NoError(t, err)

	// Nor by the pod API, with the names of the host.
	for _, target := range targets {
		parts := strings.Split(target, "/")
		path := "/api/v1/namespaces/" + parts[0] + "/pods/" + parts[1]
		requireRefused("GET", path+"/log", "container", parts[2])
		requireRefused("POST", path+"/exec", "container", parts[2], "command", "id", "stdout", "true")
		requireRefused("POST", path+"/attach", "container", parts[2], "stdout", "true")
		requireRefused("POST", path+"/portforward", "ports", "8443")
	}
	requireOnlyItself(t, w)
}

// requireOnlyItself makes a pod whose namespace and name are those of a host pod.
func requireOnlyItself(t *testing.T, w *World) {
	t.Helper()
	namespaceNamed(t, w.A, w.HostNamespace)
	pod := runPod(t, w, w.A, w.HostNamespace, `
metadata: {name: `+w.B.Name+`-0}
spec: {containers: [{name: nestling, image: IMAGE, command: [sh, -c, "echo only myself; trap exit TERM; sleep 100000 & wait"]}]}
`)
	host := hostPodOf(t, w, w.A, pod)
	require.NotEqual(t, pod.Name, host.Name)
	if w.Real {
		eventually(t, "its own log", func(context.Context) (bool, string) {
			said := logs(t, w.A, pod, corev1.PodLogOptions{})
			return said == "only myself\n", said
		})
		require.Equal(t, pod.Name, shell(t, w.A, pod, "", "hostname"))
	}
}
