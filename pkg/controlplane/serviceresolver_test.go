package controlplane_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	aggregator "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"

	"nestling.dev/nestling/pkg/controlplane/controlplanetest"
	"nestling.dev/nestling/pkg/pki"
)

// extension is a program in a tenant's pod that the API server calls: an admission webhook
// and an aggregated API server. It listens outside of the service range, on a port that no
// Service names; and nothing forwards ClusterIPs here.
type extension struct {
	listener net.Listener
	ca       []byte
	users    sync.Map // of aggregated requests, by path: the last one
}

func newExtension(t *testing.T) *extension {
	t.Helper()
	address := ownAddress(t)
	authority, err := pki.New(time.Now())
	require.NoError(t, err)
	certificate, key, err := authority.Issue(pki.Leaf{CommonName: "extension", Server: true, DNSNames: []string{"extension.default.svc"}})
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(certificate, key)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	require.NoError(t, err)
	e := &extension{listener: listener, ca: authority.CAPEM()}
	server := &httptest.Server{Listener: listener, TLS: &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert}, Config: &http.Server{Handler: e}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return e
}

// ownAddress is one of this machine that an endpoint may have: none of the loopback's.
func ownAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && network.IP.To4() != nil && network.IP.IsGlobalUnicast() {
			return network.IP.String()
		}
	}
	t.Skip("this machine has no address but the loopback's")
	return ""
}

func (e *extension) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := any(nil)
	if user := r.Header.Get("X-Remote-User"); user != "" {
		e.users.Store(r.URL.Path, user)
	}
	switch {
	// The second is where a webhook is that is part of an aggregated API.
	case r.URL.Path == "/deny", r.Method == http.MethodPost && r.URL.Path == "/apis/stories.example.com/v1/reviews":
		review := &admissionv1.AdmissionReview{}
		if err := json.NewDecoder(r.Body).Decode(review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Result: &metav1.Status{Message: "not today"}}
		answer = review
	case strings.HasPrefix(r.URL.Path, "/apis/stories.example.com/v1"):
		answer = &metav1.APIResourceList{GroupVersion: "stories.example.com/v1", APIResources: []metav1.APIResource{{Name: "tales", Kind: "Tale", Verbs: metav1.Verbs{"list"}}}}
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

func (e *extension) asked(path string) any {
	user, _ := e.users.Load(path)
	return user
}

// serve makes the Service, or points it at the extension. The port of the Service has a
// name, as the port of the endpoint has; the number is another.
func (e *extension) serve(t *testing.T, client kubernetes.Interface, service string, ready bool) {
	t.Helper()
	_, err := client.CoreV1().Services("default").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: service},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "https", Port: 443, TargetPort: intstr.FromString("tls")}, {Name: "other", Port: 80}}},
	}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		require.NoError(t, err)
	}
	host := e.listener.Addr().(*net.TCPAddr)
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: service, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("https"), Port: new(int32(host.Port))}},
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{host.IP.String()}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
	}
	if _, err = client.DiscoveryV1().EndpointSlices("default").Create(t.Context(), slice, metav1.CreateOptions{}); apierrors.IsAlreadyExists(err) {
		_, err = client.DiscoveryV1().EndpointSlices("default").Update(t.Context(), slice, metav1.UpdateOptions{})
	}
	require.NoError(t, err)
}

func TestServicesAreDialledAtTheirEndpoints(t *testing.T) {
	t.Parallel()
	server := controlplanetest.Start(t, controlplanetest.Options{})
	client, err := kubernetes.NewForConfig(server.Config)
	require.NoError(t, err)
	e := newExtension(t)

	denies := func(t *testing.T, resource string, webhook admissionregistrationv1.WebhookClientConfig) {
		t.Helper()
		_, err := client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(t.Context(), &admissionregistrationv1.ValidatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: resource},
			Webhooks: []admissionregistrationv1.ValidatingWebhook{{
				Name: resource + ".stories.example.com", ClientConfig: webhook,
				Rules: []admissionregistrationv1.RuleWithOperations{{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{resource}},
				}},
				SideEffects: new(admissionregistrationv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
			}},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	says := func(t *testing.T, words string, attempt func(ctx context.Context, options metav1.CreateOptions) error) {
		t.Helper()
		eventually(t, words, func(ctx context.Context) bool {
			err := attempt(ctx, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return err != nil && strings.Contains(err.Error(), words)
		})
	}

	t.Run("an admission webhook", func(t *testing.T) {
		denies(t, "configmaps", admissionregistrationv1.WebhookClientConfig{
			CABundle: e.ca, Service: &admissionregistrationv1.ServiceReference{Namespace: "default", Name: "extension", Path: new("/deny")},
		})
		attempt := func(ctx context.Context, options metav1.CreateOptions) error {
			_, err := client.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "refused-"}}, options)
			return err
		}
		says(t, `service "extension" not found`, attempt)
		e.serve(t, client, "extension", false)
		says(t, `no endpoints available for service "extension"`, attempt)
		e.serve(t, client, "extension", true)
		says(t, "denied the request: not today", attempt)
	})

	t.Run("an aggregated API", func(t *testing.T) {
		services, err := aggregator.NewForConfig(server.Config)
		require.NoError(t, err)
		_, err = services.ApiregistrationV1().APIServices().Create(t.Context(), &apiregistrationv1.APIService{
			ObjectMeta: metav1.ObjectMeta{Name: "v1.stories.example.com"},
			Spec: apiregistrationv1.APIServiceSpec{
				Group: "stories.example.com", Version: "v1", GroupPriorityMinimum: 1000, VersionPriority: 10, CABundle: e.ca,
				Service: &apiregistrationv1.ServiceReference{Namespace: "default", Name: "extension"},
			},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
		eventually(t, "its resources", func(context.Context) bool {
			found, err := client.Discovery().ServerResourcesForGroupVersion("stories.example.com/v1")
			return err == nil && len(found.APIResources) == 1
		})
		require.NoError(t, client.Discovery().RESTClient().Get().AbsPath("/apis/stories.example.com/v1/tales").Do(t.Context()).Error())
		require.Equal(t, "test-admin", e.asked("/apis/stories.example.com/v1/tales"), "the front proxy says who asks")
	})

	t.Run("an admission webhook that is part of an aggregated API", func(t *testing.T) {
		denies(t, "secrets", admissionregistrationv1.WebhookClientConfig{
			Service: &admissionregistrationv1.ServiceReference{Namespace: "default", Name: "kubernetes", Path: new("/apis/stories.example.com/v1/reviews")},
		})
		says(t, "denied the request: not today", func(ctx context.Context, options metav1.CreateOptions) error {
			_, err := client.CoreV1().Secrets("default").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{GenerateName: "refused-"}}, options)
			return err
		})
		require.Equal(t, "system:apiserver", e.asked("/apis/stories.example.com/v1/reviews"), "the API server has called itself")
	})
}
