package syncer_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/syncer"
	"nestling.dev/nestling/syncer/engine"
)

// A host of a newer version has fields and values that this one has never heard of. No
// API of today would take them, so they are put where the host's API server reads them.
func TestStatusOfANewerHost(t *testing.T) {
	var patches atomic.Int64
	x := newTenantWith(t, "newer", virtualServer, func(*syncer.Syncer) {}, func(options *syncer.Options) {
		options.Virtual = rest.CopyConfig(options.Virtual)
		options.Virtual.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(request *http.Request) (*http.Response, error) {
				if request.Method == http.MethodPatch && strings.HasSuffix(request.URL.Path, "/services/web/status") {
					patches.Add(1)
				}
				return next.RoundTrip(request)
			})
		})
	})
	services := x.virtual.CoreV1().Services(x.name)
	_, err := services.Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	var host *corev1.Service
	x.eventually("the Service is on the host", func() (string, error) {
		host, err = x.host.CoreV1().Services(x.name).Get(t.Context(), x.hostName("web"), metav1.GetOptions{})
		return "", err
	})
	// put changes the status of the host Service as its storage has it.
	put := func(status string) {
		host.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}
		text, err := json.Marshal(host)
		require.NoError(t, err)
		var content, part map[string]any
		require.NoError(t, json.Unmarshal(text, &content))
		require.NoError(t, json.Unmarshal([]byte(status), &part))
		content["status"] = part
		require.NoError(t, unstructured.SetNestedField(content, "yes", "spec", "fieldOfTomorrow"))
		text, err = json.Marshal(content)
		require.NoError(t, err)
		require.NoError(t, hostServer.Put(t.Context(), "services/specs/"+x.name+"/"+host.Name, text))
	}
	begin := metav1.Unix(1767225600, 0) // 2026
	put(`{
		"fieldOfTomorrow": {"x": 1},
		"conditions": [
			{"type": "Good", "status": "True", "reason": "Fine", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"},
			{"type": "New", "status": "Perhaps", "reason": "Why", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
		],
		"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ipMode": "Teleport"}, {"ip": "192.0.2.2", "ipMode": "VIP"}]}
	}`)
	x.eventually("what this cluster knows comes back", func() (string, error) {
		virtual, err := services.Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		want := corev1.ServiceStatus{
			// Upstream does not check these, so all of them are shown.
			Conditions: []metav1.Condition{
				{Type: "Good", Status: "True", Reason: "Fine", LastTransitionTime: begin},
				{Type: "New", Status: "Perhaps", Reason: "Why", LastTransitionTime: begin},
			},
			LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "192.0.2.2", IPMode: new(corev1.LoadBalancerIPModeVIP)}}},
		}
		return cmp.Diff(want, virtual.Status), nil
	})
	x.eventually("the user is told", func() (string, error) {
		events, err := x.virtual.CoreV1().Events(x.name).List(t.Context(), metav1.ListOptions{FieldSelector: "reason=" + engine.ReasonStatusNotKnown})
		if err != nil || len(events.Items) != 1 {
			return "no event", err
		}
		return cmp.Diff("the host's status has values that this cluster does not take; they are left out: status.loadBalancer.ingress[0].ipMode", events.Items[0].Message), nil
	})
	// The host object changes, and is looked at each time: a change of the virtual one
	// comes over. What is not taken is not tried again and again.
	before := patches.Load()
	for _, value := range []string{"a", "b", "c", "d", "e"} {
		change := []byte(`{"metadata":{"annotations":{"example.org/x":"` + value + `"}}}`)
		_, err = services.Patch(t.Context(), "web", types.MergePatchType, change, metav1.PatchOptions{})
		require.NoError(t, err)
		x.eventually("the change comes over", func() (string, error) {
			host, err := x.host.CoreV1().Services(x.name).Get(t.Context(), host.Name, metav1.GetOptions{})
			if err != nil {
				return "", err
			}
			return cmp.Diff(value, host.Annotations["example.org/x"]), nil
		})
	}
	require.LessOrEqual(t, patches.Load()-before, int64(2), "what remains of the first look")
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }
