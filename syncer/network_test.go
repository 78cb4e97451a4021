package syncer_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

// parse reads an object as users write it.
func parse[T any](x tenant, text string) *T {
	x.Helper()
	out := new(T)
	require.NoError(x, yaml.UnmarshalStrict([]byte(text), out))
	return out
}

func TestWhatTheTenantSaysStandsBehindAService(t *testing.T) {
	x := newTenant(t, "endpoints")
	services, slices := x.virtual.CoreV1().Services(x.name), x.virtual.DiscoveryV1().EndpointSlices(x.name)
	_, err := services.Create(t.Context(), parse[corev1.Service](x, `
metadata: {name: db}
spec: {ports: [{name: pg, port: 5432}]}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = x.virtual.CoreV1().Endpoints(x.name).Create(t.Context(), parse[corev1.Endpoints](x, `
metadata: {name: db}
subsets: [{addresses: [{ip: 203.0.113.7}], ports: [{name: pg, port: 5432}]}]
`), metav1.CreateOptions{})
	require.NoError(t, err)
	// As the controller that mirrors Endpoints would.
	_, err = slices.Create(t.Context(), parse[discoveryv1.EndpointSlice](x, `
metadata: {name: db-x1, labels: {kubernetes.io/service-name: db, endpointslice.kubernetes.io/managed-by: endpointslicemirroring-controller.k8s.io}}
addressType: IPv4
endpoints: [{addresses: [203.0.113.7], conditions: {ready: true}, zone: a, nodeName: nowhere}]
ports: [{name: pg, port: 5432}]
`), metav1.CreateOptions{})
	require.NoError(t, err)
	hostSlice := func(check func(*discoveryv1.EndpointSlice) string) func() (string, error) {
		return func() (string, error) {
			got, err := x.host.DiscoveryV1().EndpointSlices(x.name).Get(t.Context(), x.hostName("db-x1"), metav1.GetOptions{})
			if err != nil {
				return "", err
			}
			return check(got), nil
		}
	}
	x.eventually("the slice is on the host", hostSlice(func(got *discoveryv1.EndpointSlice) string {
		return cmp.Diff([]any{x.hostName("db"), "nestling.dev", []discoveryv1.Endpoint{{
			Addresses: []string{"203.0.113.7"}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)}, Zone: new("a"),
		}}}, []any{got.Labels[discoveryv1.LabelServiceName], got.Labels[discoveryv1.LabelManagedBy], got.Endpoints})
	}))
	x.eventually("so are the Endpoints", func() (string, error) {
		got, err := x.host.CoreV1().Endpoints(x.name).Get(t.Context(), x.hostName("db"), metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		return cmp.Diff("true", got.Labels[discoveryv1.LabelSkipMirror]), nil
	})

	_, err = slices.Patch(t.Context(), "db-x1", types.MergePatchType, []byte(`{"endpoints":[{"addresses":["203.0.113.8"],"conditions":{"ready":false}}],"ports":[{"name":"pg","port":5433,"protocol":"TCP"}]}`), metav1.PatchOptions{})
	require.NoError(t, err)
	x.eventually("changes follow", hostSlice(func(got *discoveryv1.EndpointSlice) string {
		return cmp.Diff([]any{"203.0.113.8", false, int32(5433)}, []any{got.Endpoints[0].Addresses[0], *got.Endpoints[0].Conditions.Ready, *got.Ports[0].Port})
	}))

	gone := func(what string) {
		t.Helper()
		x.eventually(what, func() (string, error) {
			_, err := x.host.DiscoveryV1().EndpointSlices(x.name).Get(t.Context(), x.hostName("db-x1"), metav1.GetOptions{})
			return gone(err)
		})
		x.eventually(what, func() (string, error) {
			_, err := x.host.CoreV1().Endpoints(x.name).Get(t.Context(), x.hostName("db"), metav1.GetOptions{})
			return gone(err)
		})
	}
	patch := func(text string) {
		t.Helper()
		_, err := services.Patch(t.Context(), "db", types.MergePatchType, []byte(text), metav1.PatchOptions{})
		require.NoError(t, err)
	}
	patch(`{"spec":{"selector":{"app":"db"}}}`)
	gone("a Service that gets a selector has the host's own endpoints")
	patch(`{"spec":{"selector":null}}`)
	x.eventually("and has the tenant's again without it", hostSlice(func(*discoveryv1.EndpointSlice) string { return "" }))
	require.NoError(t, services.Delete(t.Context(), "db", metav1.DeleteOptions{}))
	gone("endpoints of no Service")
}

func TestIngressesFollow(t *testing.T) {
	x := newTenant(t, "ingresses")
	classes := x.host.NetworkingV1().IngressClasses()
	_, err := classes.Create(t.Context(), parse[networkingv1.IngressClass](x, `
metadata: {name: public, annotations: {ingressclass.kubernetes.io/is-default-class: "true"}}
spec: {controller: example.org/ingress, parameters: {apiGroup: example.org, kind: Settings, name: public, scope: Namespace, namespace: ingress-system}}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = classes.Delete(t.Context(), "public", metav1.DeleteOptions{}) })
	x.eventually("the class is mirrored", func() (string, error) {
		got, err := x.virtual.NetworkingV1().IngressClasses().Get(t.Context(), "public", metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		return cmp.Diff(networkingv1.IngressClassSpec{Controller: "example.org/ingress"}, got.Spec), nil
	})
	_, err = x.virtual.CoreV1().Secrets(x.name).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "web-tls"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{"tls.crt": []byte("c"), "tls.key": []byte("k")},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	ingresses := x.virtual.NetworkingV1().Ingresses(x.name)
	var made *networkingv1.Ingress
	x.eventually("the API server has heard of the class, and takes it as default", func() (string, error) {
		made, err = ingresses.Create(t.Context(), parse[networkingv1.Ingress](x, `
metadata: {name: web, annotations: {nginx.ingress.kubernetes.io/auth-secret: users}}
spec:
  tls: [{hosts: [web.example.org], secretName: web-tls}]
  rules: [{host: web.example.org, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]
`), metav1.CreateOptions{})
		if err == nil && made.Spec.IngressClassName == nil {
			require.NoError(t, ingresses.Delete(t.Context(), "web", metav1.DeleteOptions{}))
			return "it has no class", nil
		}
		return "", err
	})
	require.Equal(t, "public", *made.Spec.IngressClassName)
	_, err = x.virtual.CoreV1().Secrets(x.name).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "users"}, StringData: map[string]string{"auth": "a:b"},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	hostIngress := func(check func(*networkingv1.Ingress) string) func() (string, error) {
		return func() (string, error) {
			got, err := x.host.NetworkingV1().Ingresses(x.name).Get(t.Context(), x.hostName("web"), metav1.GetOptions{})
			if err != nil {
				return "", err
			}
			return check(got), nil
		}
	}
	x.eventually("the Ingress is on the host", hostIngress(func(got *networkingv1.Ingress) string {
		return cmp.Diff([]any{"public", x.hostName("web"), x.hostName("web-tls"), x.hostName("users")}, []any{
			*got.Spec.IngressClassName, got.Spec.Rules[0].HTTP.Paths[0].Backend.Service.Name, got.Spec.TLS[0].SecretName,
			got.Annotations["nginx.ingress.kubernetes.io/auth-secret"],
		})
	}))
	for _, secret := range []string{"web-tls", "users"} {
		x.eventually("with the Secret "+secret, func() (string, error) {
			_, err := x.host.CoreV1().Secrets(x.name).Get(t.Context(), x.hostName(secret), metav1.GetOptions{})
			return "", err
		})
	}
	_, err = x.host.NetworkingV1().Ingresses(x.name).Patch(t.Context(), x.hostName("web"), types.MergePatchType,
		[]byte(`{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.10"}]}}}`), metav1.PatchOptions{}, "status")
	require.NoError(t, err)
	x.eventually("its address comes back", func() (string, error) {
		got, err := ingresses.Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil || len(got.Status.LoadBalancer.Ingress) == 0 {
			return "no address", err
		}
		return cmp.Diff("192.0.2.10", got.Status.LoadBalancer.Ingress[0].IP), nil
	})

	// A message of the host's about it names what the tenant has named.
	host, err := x.host.NetworkingV1().Ingresses(x.name).Get(t.Context(), x.hostName("web"), metav1.GetOptions{})
	require.NoError(t, err)
	_, err = x.host.CoreV1().Events(x.name).Create(t.Context(), &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Name: host.Name + ".18a"},
		InvolvedObject: corev1.ObjectReference{APIVersion: "networking.k8s.io/v1", Kind: "Ingress", Namespace: x.name, Name: host.Name, UID: host.UID},
		Reason:         "Rejected", Message: fmt.Sprintf("service %s/%s has no endpoints, secret %q is of the wrong type", x.name, x.hostName("web"), x.hostName("web-tls")),
		Type: corev1.EventTypeWarning, FirstTimestamp: metav1.Now(), LastTimestamp: metav1.Now(), Count: 1,
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	x.eventually("an event about it is the tenant's", func() (string, error) {
		got, err := x.virtual.CoreV1().Events(x.name).Get(t.Context(), "web.18a", metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		return cmp.Diff(fmt.Sprintf("service %s/web has no endpoints, secret %q is of the wrong type", x.name, "web-tls"), got.Message), nil
	})

	// A class of the tenant's own is served in the tenant.
	_, err = x.virtual.NetworkingV1().IngressClasses().Create(t.Context(), parse[networkingv1.IngressClass](x, `
metadata: {name: mine}
spec: {controller: example.org/mine}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = ingresses.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"spec":{"ingressClassName":"mine"}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	x.eventually("it leaves the host", func() (string, error) {
		_, err := x.host.NetworkingV1().Ingresses(x.name).Get(t.Context(), x.hostName("web"), metav1.GetOptions{})
		return gone(err)
	})
	require.NoError(t, x.virtual.NetworkingV1().IngressClasses().Delete(t.Context(), "mine", metav1.DeleteOptions{}))
	x.eventually("and comes again with the class", hostIngress(func(*networkingv1.Ingress) string { return "" }))
	require.NoError(t, ingresses.Delete(t.Context(), "web", metav1.DeleteOptions{}))
	x.eventually("its Secrets go with it", func() (string, error) {
		_, err := x.host.CoreV1().Secrets(x.name).Get(t.Context(), x.hostName("web-tls"), metav1.GetOptions{})
		return gone(err)
	})
}

func TestNetworkPoliciesFollow(t *testing.T) {
	x := newTenant(t, "policies")
	policies := x.virtual.NetworkingV1().NetworkPolicies(x.name)
	_, err := policies.Create(t.Context(), parse[networkingv1.NetworkPolicy](x, `
metadata: {name: web}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{namespaceSelector: {matchLabels: {team: a}}, podSelector: {}}], ports: [{port: 8000, endPort: 8010}]}]
  egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]}]
`), metav1.CreateOptions{})
	require.NoError(t, err)
	hostPolicy := func(check func(*networkingv1.NetworkPolicy) string) func() (string, error) {
		return func() (string, error) {
			got, err := x.host.NetworkingV1().NetworkPolicies(x.name).Get(t.Context(), x.hostName("web"), metav1.GetOptions{})
			if err != nil {
				return "", err
			}
			return check(got), nil
		}
	}
	x.eventually("the policy is on the host", hostPolicy(func(got *networkingv1.NetworkPolicy) string {
		return cmp.Diff([]any{2, 2, []networkingv1.PolicyType{"Ingress", "Egress"}, x.name},
			[]any{len(got.Spec.Ingress), len(got.Spec.Egress), got.Spec.PolicyTypes, got.Spec.Egress[1].To[0].PodSelector.MatchLabels["nestling.dev/control-plane"]})
	}))
	_, err = policies.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"spec":{"egress":null,"policyTypes":["Ingress"],"podSelector":{"matchLabels":{"app":null}}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	x.eventually("changes follow", hostPolicy(func(got *networkingv1.NetworkPolicy) string {
		return cmp.Diff([]any{0, 0, []networkingv1.PolicyType{"Ingress"}}, []any{len(got.Spec.Egress), len(got.Spec.PodSelector.MatchLabels), got.Spec.PolicyTypes})
	}))
	_, err = x.host.NetworkingV1().NetworkPolicies(x.name).Patch(t.Context(), x.hostName("web"), types.MergePatchType, []byte(`{"spec":{"ingress":[{}]}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	x.eventually("what somebody changes on the host is repaired", hostPolicy(func(got *networkingv1.NetworkPolicy) string {
		return cmp.Diff(2, len(got.Spec.Ingress))
	}))
	require.NoError(t, policies.Delete(t.Context(), "web", metav1.DeleteOptions{}))
	x.eventually("it goes", func() (string, error) {
		_, err := x.host.NetworkingV1().NetworkPolicies(x.name).Get(t.Context(), x.hostName("web"), metav1.GetOptions{})
		return gone(err)
	})
}

func TestBudgetsFollow(t *testing.T) {
	x := newTenant(t, "budgets")
	budgets := x.virtual.PolicyV1().PodDisruptionBudgets(x.name)
	_, err := budgets.Create(t.Context(), parse[policyv1.PodDisruptionBudget](x, `
metadata: {name: web}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: web}}}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	keeps := func(want int32) func() (string, error) {
		return func() (string, error) {
			got, err := x.host.PolicyV1().PodDisruptionBudgets(x.name).Get(t.Context(), x.hostName("web"), metav1.GetOptions{})
			if err != nil {
				return "", err
			}
			return cmp.Diff([]any{new(intstr.FromInt32(want)), (*intstr.IntOrString)(nil)}, []any{got.Spec.MinAvailable, got.Spec.MaxUnavailable}), nil
		}
	}
	count := func(generation, expected, desired int) { // as the disruption controller would
		t.Helper()
		_, err = budgets.Patch(t.Context(), "web", types.MergePatchType, fmt.Appendf(nil,
			`{"status":{"observedGeneration":%d,"expectedPods":%d,"desiredHealthy":%d,"currentHealthy":%[2]d,"disruptionsAllowed":1}}`, generation, expected, desired), metav1.PatchOptions{}, "status")
		require.NoError(t, err)
	}
	count(1, 3, 2)
	x.eventually("the host keeps what has been counted", keeps(2))
	count(1, 5, 4)
	x.eventually("and what there is after", keeps(4))
	_, err = budgets.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"spec":{"maxUnavailable":null,"minAvailable":1}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	x.eventually("a number needs no counting", keeps(1))
	_, err = x.host.PolicyV1().PodDisruptionBudgets(x.name).Patch(t.Context(), x.hostName("web"), types.MergePatchType, []byte(`{"status":{"disruptionsAllowed":7,"observedGeneration":3}}`), metav1.PatchOptions{}, "status")
	require.NoError(t, err)
	virtual, err := budgets.Get(t.Context(), "web", metav1.GetOptions{})
	require.NoError(t, err)
	_, err = budgets.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"spec":{"minAvailable":3}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	x.eventually("after it", keeps(3))
	after, err := budgets.Get(t.Context(), "web", metav1.GetOptions{})
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(virtual.Status, after.Status), "the host's status stays on the host")
}
