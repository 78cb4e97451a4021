package stories

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// enforced is what the tenants' pods notice of policies.
func enforced(t *testing.T, w *World) {
	if !w.Enforces {
		t.Skip("this host does not enforce network policies")
	}
	space, friends := namespace(t, w.A, "fenced"), namespace(t, w.A, "friendly")
	other := namespace(t, w.B, "strange")
	for tenant, name := range map[*Tenant]string{w.A: friends, w.B: other} { // the same label in both
		labelled, err := tenant.Client.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
		require.NoError(t, err)
		labelled.Labels["team"] = "friends"
		_, err = tenant.Client.CoreV1().Namespaces().Update(t.Context(), labelled, metav1.UpdateOptions{})
		require.NoError(t, err)
	}
	run := func(tenant *Tenant, space, name string) *corev1.Pod {
		return runPod(t, w, tenant, space, `
metadata: {name: `+name+`, labels: {app: `+name+`}}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: IMAGE, command: [agnhost, netexec, --http-port=8080], readinessProbe: {httpGet: {port: 8080}, PROBE}}]}
`)
	}
	web, sibling := run(w.A, space, "web"), run(w.A, space, "sibling")
	friend, stranger := run(w.A, friends, "friend"), run(w.B, other, "stranger")
	policies := w.A.Client.NetworkingV1().NetworkPolicies(space)
	allow := func(manifest string) {
		t.Helper()
		_, err := policies.Create(t.Context(), decode[networkingv1.NetworkPolicy](t, w, manifest), metav1.CreateOptions{})
		require.NoError(t, err)
	}
	reaches := func(tenant *Tenant, from, to *corev1.Pod, want bool) {
		t.Helper()
		what := map[bool]string{true: from.Name + " to reach " + to.Name, false: from.Name + " not to reach " + to.Name}[want]
		eventually(t, what, func(ctx context.Context) (bool, string) {
			answer, err := tryShell(ctx, tenant, from, "", "curl -sS -m 2 http://"+to.Status.PodIP+":8080/hostname")
			return (err == nil && answer == to.Name) == want, answer + errText(err)
		})
	}
	reaches(w.A, sibling, web, true)
	reaches(w.B, stranger, web, true)

	allow("{metadata: {name: deny-all}, spec: {podSelector: {}, policyTypes: [Ingress, Egress]}}")
	reaches(w.A, sibling, web, false)
	reaches(w.A, friend, web, false)
	reaches(w.B, stranger, web, false)
	reaches(w.A, web, friend, false)
	// What every pod needs is the tenant's own control plane, which is none of its pods.
	eventuallyShell(t, w.A, web, "curl -sk -m 5 https://kubernetes.default.svc/version | grep -o gitVersion", "gitVersion")
	require.NotEmpty(t, logs(t, w.A, web, corev1.PodLogOptions{}), "and the way through its node is another")

	allow(`
metadata: {name: friends}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
  ingress: [{from: [{namespaceSelector: {matchLabels: {team: friends}}}], ports: [{port: 8080}]}]
`)
	reaches(w.A, friend, web, true)
	reaches(w.A, sibling, web, false)
	reaches(w.B, stranger, web, false)
	allow(`
metadata: {name: siblings}
spec:
  podSelector: {matchLabels: {app: sibling}}
  policyTypes: [Egress]
  egress: [{to: [{podSelector: {matchLabels: {app: web}}}]}]
`)
	allow(`
metadata: {name: from-siblings}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {}}]}]
`)
	reaches(w.A, sibling, web, true)
	reaches(w.A, sibling, friend, false)
	for _, name := range []string{"deny-all", "friends", "siblings", "from-siblings"} {
		require.NoError(t, policies.Delete(t.Context(), name, metav1.DeleteOptions{}))
	}
	reaches(w.B, stranger, web, true)
}
