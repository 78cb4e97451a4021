package controlplane_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/controlplane/controlplanetest"
	"nestling.dev/nestling/pkg/controlplane/egress"
)

// refusal is how the API server says that it does not connect.
const refusal = "is no address that this API server connects to for its users"

// hostAPI stands for the host's: an address for documentation (RFC 5737).
const hostAPI = "192.0.2.77"

// A tenant's administrator points the API server at what the tenant cannot reach: its own
// loopback, the metadata of a cloud, the host's API. No connection is made.
func TestTheAPIServerConnectsNowhereSpecial(t *testing.T) {
	t.Parallel()
	server := controlplanetest.Start(t, controlplanetest.Options{Configure: func(options *controlplane.APIServerOptions) {
		options.Outbound = egress.Dial(netip.MustParsePrefix(hostAPI + "/32"))
	}})
	client, err := kubernetes.NewForConfig(server.Config)
	require.NoError(t, err)
	objects, err := dynamic.NewForConfig(server.Config)
	require.NoError(t, err)
	_, err = client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "attack"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	inside, connections := listen(t)

	t.Run("a webhook at a URL", func(t *testing.T) {
		t.Parallel()
		for name, url := range map[string]string{
			"loopback": "https://127.0.0.1:" + inside, "localhost": "https://localhost:" + inside, "v6": "https://[::1]:" + inside,
			"mapped": "https://[::ffff:127.0.0.1]:" + inside, "any": "https://0.0.0.0:" + inside,
			"metadata": "https://169.254.169.254/latest/meta-data", "host": "https://" + hostAPI + "/api",
		} {
			webhook(t, client, "url-"+name, admissionv1.WebhookClientConfig{URL: &url})
			webhookIsRefused(t, client, "url-"+name)
		}
	})
	forged(t, client, "behind", hostAPI) // the proxy of Services wants a pod behind each
	service(t, client, "host-api")
	t.Run("a webhook at a Service whose endpoints the tenant writes", func(t *testing.T) {
		t.Parallel()
		webhook(t, client, "service", admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "attack", Name: "host-api"}})
		webhookIsRefused(t, client, "service")
	})
	t.Run("the proxy of a Service", func(t *testing.T) {
		t.Parallel()
		for _, name := range []string{"https:host-api:443", "host-api:443"} {
			requireRefused(t, client.CoreV1().RESTClient().Get().AbsPath("/api/v1/namespaces/attack/services/"+name+"/proxy/version").Do(t.Context()).Error())
		}
	})
	t.Run("the proxy of a pod whose address the tenant writes", func(t *testing.T) {
		t.Parallel()
		for name, ip := range map[string]string{"host": hostAPI, "loopback": "127.0.0.1", "metadata": "169.254.169.254", "v6": "::1"} {
			forged(t, client, name, ip)
			for _, port := range []string{"443", inside} {
				path := "/api/v1/namespaces/attack/pods/" + name + ":" + port + "/proxy/"
				err := client.CoreV1().RESTClient().Get().AbsPath(path).Do(t.Context()).Error()
				require.Error(t, err)
				if name == "host" { // the others are refused by upstream already
					requireRefused(t, err)
				}
			}
		}
	})
	t.Run("an aggregated API", func(t *testing.T) {
		t.Parallel()
		group := schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}
		create(t, objects.Resource(group), map[string]any{
			"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": map[string]any{"name": "v1.attack.example"},
			"spec": map[string]any{
				"group": "attack.example", "version": "v1", "groupPriorityMinimum": int64(1000), "versionPriority": int64(10), "insecureSkipTLSVerify": true,
				"service": map[string]any{"namespace": "attack", "name": "host-api", "port": int64(443)},
			},
		})
		require.Eventually(t, func() bool {
			found, err := objects.Resource(group).Get(t.Context(), "v1.attack.example", metav1.GetOptions{})
			require.NoError(t, err)
			conditions, _, _ := unstructured.NestedSlice(found.Object, "status", "conditions")
			for _, condition := range conditions {
				condition := condition.(map[string]any)
				if condition["type"] == "Available" {
					require.NotEqual(t, "True", condition["status"])
					return strings.Contains(fmt.Sprint(condition["message"]), refusal)
				}
			}
			return false
		}, 30*time.Second, 100*time.Millisecond)
		answer := client.CoreV1().RESTClient().Get().AbsPath("/apis/attack.example/v1").Do(t.Context())
		require.Error(t, answer.Error())
	})
	t.Run("a conversion webhook", func(t *testing.T) {
		t.Parallel()
		definitions := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
		version := func(name string, storage bool) any {
			return map[string]any{"name": name, "served": true, "storage": storage, "schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object"}}}
		}
		create(t, objects.Resource(definitions), map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": "turns.convert.example"},
			"spec": map[string]any{
				"group": "convert.example", "scope": "Namespaced", "names": map[string]any{"plural": "turns", "kind": "Turn"},
				"versions": []any{version("v1", true), version("v2", false)},
				"conversion": map[string]any{"strategy": "Webhook", "webhook": map[string]any{
					"conversionReviewVersions": []any{"v1"}, "clientConfig": map[string]any{"url": "https://localhost:" + inside},
				}},
			},
		})
		turns := objects.Resource(schema.GroupVersionResource{Group: "convert.example", Version: "v2", Resource: "turns"}).Namespace("attack")
		require.Eventually(t, func() bool {
			_, err := turns.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "convert.example/v2", "kind": "Turn", "metadata": map[string]any{"name": "one"}}}, metav1.CreateOptions{})
			require.Error(t, err)
			return strings.Contains(err.Error(), refusal)
		}, 30*time.Second, 100*time.Millisecond)
	})
	t.Cleanup(func() { require.Zero(t, connections.Load(), "connections to the loopback") })
}

// listen counts the connections to a port of this machine's loopback.
func listen(t *testing.T) (port string, connections *atomic.Int32) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	connections = &atomic.Int32{}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			connection.Close()
		}
	}()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port), connections
}

// webhook is asked about ConfigMaps of its name.
func webhook(t *testing.T, client kubernetes.Interface, name string, at admissionv1.WebhookClientConfig) {
	t.Helper()
	_, err := client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(t.Context(), &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: name + ".attack.example", ClientConfig: at, AdmissionReviewVersions: []string{"v1"},
			SideEffects: new(admissionv1.SideEffectClassNone), TimeoutSeconds: new(int32(5)),
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}},
			ObjectSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"asks": name}},
		}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

// webhookIsRefused makes ConfigMaps until the API server refuses to ask their webhook. Before
// that, the configuration, its Service and the endpoints may be on their way.
func webhookIsRefused(t *testing.T, client kubernetes.Interface, name string) {
	t.Helper()
	var last error
	defer func() { t.Logf("%s: %v", name, last) }()
	eventually(t, refusal, func(ctx context.Context) bool {
		_, last = client.CoreV1().ConfigMaps("attack").Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-", Labels: map[string]string{"asks": name}}}, metav1.CreateOptions{})
		return last != nil && strings.Contains(last.Error(), refusal)
	})
}

// service has the host's API as its endpoint.
func service(t *testing.T, client kubernetes.Interface, name string) {
	t.Helper()
	_, err := client.CoreV1().Services("attack").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 443}}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = client.CoreV1().Endpoints("attack").Create(t.Context(), &corev1.Endpoints{ //nolint:staticcheck // the proxies read them
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Subsets:    []corev1.EndpointSubset{{Addresses: []corev1.EndpointAddress{{IP: hostAPI, TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: "attack", Name: "behind"}}}, Ports: []corev1.EndpointPort{{Port: 443}}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = client.DiscoveryV1().EndpointSlices("attack").Create(t.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name}}, AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{hostAPI}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)}}}, Ports: []discoveryv1.EndpointPort{{Port: new(int32(443)), Name: new("")}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

// forged is a pod that says that it has an address.
func forged(t *testing.T, client kubernetes.Interface, name, ip string) {
	t.Helper()
	_, err := client.CoreV1().Pods("attack").Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{AutomountServiceAccountToken: new(false), Containers: []corev1.Container{{Name: "c", Image: "example.org/c"}}},
	}, metav1.CreateOptions{})
	if err != nil { // admission wants the namespace's ServiceAccount, which a controller would have made
		_, err = client.CoreV1().ServiceAccounts("attack").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
		require.NoError(t, err)
		forged(t, client, name, ip)
		return
	}
	_, err = client.CoreV1().Pods("attack").Patch(t.Context(), name, types.MergePatchType,
		[]byte(`{"status":{"podIP":"`+ip+`","podIPs":[{"ip":"`+ip+`"}]}}`), metav1.PatchOptions{}, "status")
	require.NoError(t, err)
}

func create(t *testing.T, resource interface {
	Create(ctx context.Context, object *unstructured.Unstructured, options metav1.CreateOptions, subresources ...string) (*unstructured.Unstructured, error)
}, object map[string]any) {
	t.Helper()
	_, err := resource.Create(t.Context(), &unstructured.Unstructured{Object: object}, metav1.CreateOptions{})
	require.NoError(t, err)
}

func requireRefused(t *testing.T, err error) {
	t.Helper()
	require.ErrorContains(t, err, refusal)
}
