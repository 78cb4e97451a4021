package hostmetrics

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/metrics/pkg/apis/metrics"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"nestling.dev/nestling/pkg/controlplane/hosttext"
)

var measured = metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Local())

func use(cpu string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}
}

// someTenant has two pods in two namespaces, and sees one node.
type someTenant struct{}

func (someTenant) Pods(namespace string) ([]Pod, error) {
	var out []Pod
	for _, pod := range []Pod{
		{Namespace: "shop", Name: "web", Labels: map[string]string{"app": "web"}, HostName: "team-a-shop-web-1", Containers: []string{"main"}},
		{Namespace: "bank", Name: "db", HostName: "team-a-bank-db-2", Containers: []string{"db", "log"}},
		{Namespace: "bank", Name: "new", HostName: "team-a-bank-new-3", Containers: []string{"main"}},
	} {
		if namespace == "" || namespace == pod.Namespace {
			out = append(out, pod)
		}
	}
	return out, nil
}

func (someTenant) Nodes() ([]Node, error) {
	return []Node{{Name: "node-1", Labels: map[string]string{"zone": "a"}}}, nil
}

// source over a host that answers every request alike, and remembers them.
func source(t *testing.T, handler http.HandlerFunc) (*Source, *[]string) {
	t.Helper()
	asked := new([]string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.URL.String())
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	out, err := New(Options{Host: &rest.Config{Host: server.URL}, Namespace: "tenants", Selector: "nestling.dev/tenant=team-a", Tenant: someTenant{}})
	require.NoError(t, err)
	return out, asked
}

func says(object any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(object)
	}
}

func refuse(err *apierrors.StatusError) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(int(err.ErrStatus.Code))
		_ = json.NewEncoder(w).Encode(err.ErrStatus)
	}
}

func hostPod(name string, containers ...string) v1beta1.PodMetrics {
	out := v1beta1.PodMetrics{
		ObjectMeta: metav1.ObjectMeta{Namespace: "tenants", Name: name, CreationTimestamp: measured, Labels: map[string]string{"nestling.dev/tenant": "team-a"}},
		Timestamp:  measured, Window: metav1.Duration{Duration: 15 * time.Second},
	}
	for _, container := range containers {
		out.Containers = append(out.Containers, v1beta1.ContainerMetrics{Name: container, Usage: use("10m")})
	}
	return out
}

func TestPodsAreToldAsTheTenantKnowsThem(t *testing.T) {
	t.Parallel()
	usage, asked := source(t, says(v1beta1.PodMetricsList{Items: []v1beta1.PodMetrics{
		hostPod("team-a-shop-web-1", "main", "injected-by-the-host"),
		hostPod("team-a-bank-db-2", "db", "log"),
		hostPod("team-a-bank-new-3", "injected-by-the-host"),
		hostPod("of-nobody", "main"),
	}}))
	got, err := usage.Pods(t.Context(), "")
	require.NoError(t, err)
	pod := func(namespace, name string, labels map[string]string, containers ...string) metrics.PodMetrics {
		out := metrics.PodMetrics{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels, CreationTimestamp: measured},
			Timestamp:  measured, Window: metav1.Duration{Duration: 15 * time.Second},
		}
		for _, container := range containers {
			out.Containers = append(out.Containers, metrics.ContainerMetrics{Name: container, Usage: use("10m")})
		}
		return out
	}
	want := []metrics.PodMetrics{pod("shop", "web", map[string]string{"app": "web"}, "main"), pod("bank", "db", nil, "db", "log")}
	require.Empty(t, cmp.Diff(want, got))

	got, err = usage.Pods(t.Context(), "bank")
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(want[1:], got))
	require.Equal(t, []string{"/apis/metrics.k8s.io/v1beta1/namespaces/tenants/pods?labelSelector=nestling.dev%2Ftenant%3Dteam-a"}, *asked, "once, and only ours")
}

func TestOnlyNodesThatTheTenantSees(t *testing.T) {
	t.Parallel()
	node := func(name string) v1beta1.NodeMetrics {
		return v1beta1.NodeMetrics{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"hidden": "yes"}, CreationTimestamp: measured},
			Timestamp:  measured, Window: metav1.Duration{Duration: time.Second}, Usage: use("2"),
		}
	}
	usage, asked := source(t, says(v1beta1.NodeMetricsList{Items: []v1beta1.NodeMetrics{node("node-1"), node("node-2")}}))
	got, err := usage.Nodes(t.Context())
	require.NoError(t, err)
	require.Empty(t, cmp.Diff([]metrics.NodeMetrics{{
		ObjectMeta: metav1.ObjectMeta{Name: "node-1", Labels: map[string]string{"zone": "a"}, CreationTimestamp: measured},
		Timestamp:  measured, Window: metav1.Duration{Duration: time.Second}, Usage: use("2"),
	}}, got))
	require.Equal(t, []string{"/apis/metrics.k8s.io/v1beta1/nodes"}, *asked)
}

func TestWhatTheHostRefusesNamesNothingOfIt(t *testing.T) {
	t.Parallel()
	pods := metrics.Resource("pods")
	for name, test := range map[string]struct {
		host http.HandlerFunc
		want string
	}{
		"no metrics API":        {http.NotFound, "the host cluster has no metrics API (metrics.k8s.io): whoever runs it must install one, such as metrics-server"},
		"no right":              {refuse(apierrors.NewForbidden(pods, "", nil)), "this cluster's own account may not list pods.metrics.k8s.io on the host cluster; whoever runs it must grant that"},
		"metrics-server is off": {refuse(apierrors.NewServiceUnavailable("10.1.2.3 of tenants/metrics-server")), "the host cluster's metrics API is not available; try again"},
		"its own failure":       {refuse(apierrors.NewInternalError(http.ErrAbortHandler)), "the host cluster's metrics API is not available; try again"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			usage, _ := source(t, test.host)
			_, err := usage.Pods(t.Context(), "")
			require.EqualError(t, err, test.want)
			require.True(t, apierrors.IsServiceUnavailable(err))
		})
	}
}

func TestAHostThatIsAway(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(nil)
	server.Close()
	usage, err := New(Options{Host: &rest.Config{Host: server.URL}, Namespace: "tenants", Tenant: someTenant{}})
	require.NoError(t, err)
	_, err = usage.Pods(t.Context(), "")
	require.EqualError(t, err, hosttext.Unreachable)
}
