package stories

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"

	"nestling.dev/nestling/syncer/naming"
)

// tenancy is what keeps tenants apart, from each other and from the host.
func tenancy() []Story {
	return []Story{
		{Name: "two tenants with the same names do not meet", Run: sameNames},
		{Name: "credentials of one tenant are refused by the other and by the host", Run: credentials},
		{Name: "labels of ours cannot be borrowed", Run: borrowedLabels},
		{Name: "a pod cannot use a Secret or ServiceAccount of the host", Run: hostSecrets},
		{Name: "nodes open no way to pods of others", Run: nodeProxy},
	}
}

// place is a namespace of a tenant in which everything is named as everywhere else.
type place struct {
	tenant *Tenant
	space  string
	text   string // differs from place to place
	pod    *corev1.Pod
}

// sameNames puts the same objects into the same namespace of both tenants, and into
// another namespace of one.
func sameNames(t *testing.T, w *World) {
	space := "same-" + rand.String(5)
	places := []*place{
		{tenant: w.A, space: space, text: "first"},
		{tenant: w.B, space: space, text: "second"},
		{tenant: w.A, space: space + "-too", text: "third"},
	}
	for _, p := range places {
		namespaceNamed(t, p.tenant, p.space)
		p.create(t, w)
	}
	for _, p := range places {
		p.pod = waitPod(t, p.tenant, p.space, "web", "is ready", isReady)
	}
	for _, p := range places {
		p.requireOwnEndpoints(t, w)
		host := hostPodOf(t, w, p.tenant, p.pod)
		settings, err := w.Host.CoreV1().ConfigMaps(w.HostNamespace).Get(t.Context(), host.Spec.Containers[0].EnvFrom[0].ConfigMapRef.Name, metav1.GetOptions{})
		require.NoError(t, err)
		require.Equal(t, map[string]string{"SETTING": p.text}, settings.Data)
		keys, err := w.Host.CoreV1().Secrets(w.HostNamespace).Get(t.Context(), host.Spec.Containers[0].EnvFrom[1].SecretRef.Name, metav1.GetOptions{})
		require.NoError(t, err)
		require.Equal(t, map[string][]byte{"KEY": []byte(p.text)}, keys.Data)
		if w.Real {
			require.Equal(t, p.text+" "+p.text, shell(t, p.tenant, p.pod, "", "echo $SETTING $KEY"))
			// Each asks the Service's address many times: an endpoint too many would answer once.
			// The host's network may learn of the one a moment later than its API.
			eventually(t, "twenty answers of "+p.text, func(ctx context.Context) (bool, string) {
				answers, err := tryShell(ctx, p.tenant, p.pod, "", "for i in $(seq 20); do curl -sS -m 5 http://$WEB_SERVICE_HOST/hostname; echo; done | sort -u")
				for _, other := range places {
					require.True(t, other == p || !strings.Contains(answers, other.text), answers)
				}
				return err == nil && answers == p.text, answers + errText(err)
			})
		}
	}
	// What one deletes, the others keep.
	require.NoError(t, w.A.Client.CoreV1().Namespaces().Delete(t.Context(), space, metav1.DeleteOptions{}))
	eventually(t, "namespace "+space+" to go", func(ctx context.Context) (bool, string) {
		_, err := w.A.Client.CoreV1().Namespaces().Get(ctx, space, metav1.GetOptions{})
		return err != nil, errText(err)
	})
	waitNoHostPods(t, w, w.A, space)
	for _, p := range places[1:] {
		now, err := p.tenant.Client.CoreV1().Pods(p.space).Get(t.Context(), "web", metav1.GetOptions{})
		require.NoError(t, err)
		require.Equal(t, p.pod.UID, now.UID)
		require.True(t, isReady(now))
		p.requireOwnEndpoints(t, w)
	}
}

// create makes a server with a Service, and what it reads. Its hostname tells who
// answers.
func (p *place) create(t *testing.T, w *World) {
	t.Helper()
	client := p.tenant.Client.CoreV1()
	_, err := client.ConfigMaps(p.space).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"SETTING": p.text}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = client.Secrets(p.space).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "keys"}, StringData: map[string]string{"KEY": p.text}}, metav1.CreateOptions{})
	require.NoError(t, err)
	service, err := client.Services(p.space).Create(t.Context(), decode[corev1.Service](t, w, `
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	waitSynced(t, w, p.tenant, service) // whose variables the pod is to have
	createPod(t, w, p.tenant, p.space, `
metadata: {name: web, labels: {app: web}}
spec:
  hostname: `+p.text+`
  containers:
  - name: main
    image: IMAGE
    command: [agnhost, netexec, --http-port=8080]
    envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: keys}}]
    readinessProbe: {httpGet: {path: /hostname, port: 8080}, PROBE}
`)
}

// requireOwnEndpoints wants the Service's endpoints, here and on the host, to be the
// one pod of this place.
func (p *place) requireOwnEndpoints(t *testing.T, w *World) {
	t.Helper()
	eventually(t, "the endpoints of web of "+p.text, func(ctx context.Context) (bool, string) {
		virtual, err := endpoints(ctx, p.tenant.Client.DiscoveryV1().EndpointSlices(p.space).List, "web")
		if err != nil {
			return false, err.Error()
		}
		host, err := endpoints(ctx, w.Host.DiscoveryV1().EndpointSlices(w.HostNamespace).List, naming.Host(p.tenant.Name, p.space, "web"))
		if err != nil {
			return false, err.Error()
		}
		want := []string{p.pod.Status.PodIP}
		return slices.Equal(virtual, want) && slices.Equal(host, want), fmt.Sprintf("virtual %v, host %v, want %v", virtual, host, want)
	})
}

// endpoints are the addresses behind a Service, sorted.
func endpoints(ctx context.Context, list func(context.Context, metav1.ListOptions) (*discoveryv1.EndpointSliceList, error), service string) ([]string, error) {
	found, err := list(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, slice := range found.Items {
		for _, endpoint := range slice.Endpoints {
			out = append(out, endpoint.Addresses...)
		}
	}
	slices.Sort(out)
	return out, nil
}
