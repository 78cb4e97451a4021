package resourcemetrics_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	aggregator "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"
	"k8s.io/metrics/pkg/apis/metrics"
	client "k8s.io/metrics/pkg/client/clientset/versioned"

	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/controlplane/apigroup"
	"nestling.dev/nestling/pkg/controlplane/controlplanetest"
	"nestling.dev/nestling/pkg/controlplane/resourcemetrics"
)

// cluster has two pods and a node; nothing is known of the namespace "unknown".
type cluster struct{}

func (cluster) Pods(_ context.Context, namespace string) ([]metrics.PodMetrics, error) {
	if namespace == "unknown" {
		return nil, apierrors.NewServiceUnavailable("nothing is known yet")
	}
	now := metav1.Now()
	var out []metrics.PodMetrics
	for _, pod := range []metav1.ObjectMeta{
		{Namespace: "shop", Name: "web", Labels: map[string]string{"app": "web"}},
		{Namespace: "bank", Name: "db", Labels: map[string]string{"app": "db"}},
	} {
		if namespace != "" && namespace != pod.Namespace {
			continue
		}
		out = append(out, metrics.PodMetrics{ObjectMeta: pod, Timestamp: now, Window: metav1.Duration{Duration: 10 * time.Second}, Containers: []metrics.ContainerMetrics{
			{Name: "main", Usage: used("100m", "10Mi")}, {Name: "side", Usage: used("20m", "2Mi")},
		}})
	}
	return out, nil
}

func (cluster) Nodes(context.Context) ([]metrics.NodeMetrics, error) {
	return []metrics.NodeMetrics{{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}, Timestamp: metav1.Now(), Usage: used("3", "1Gi")}}, nil
}

func used(cpu, memory string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
}

func TestGroup(t *testing.T) {
	listing := &apigroup.Listing{}
	server := controlplanetest.Start(t, controlplanetest.Options{Configure: func(o *controlplane.APIServerOptions) {
		group := resourcemetrics.Group(cluster{})
		group.Listing = listing
		o.Groups = []apigroup.Group{group}
	}})
	typed, err := client.NewForConfig(server.Config)
	require.NoError(t, err)
	s := served{config: server.Config, metrics: typed, core: kubernetes.NewForConfigOrDie(server.Config)}
	t.Run("reading", s.reading)
	t.Run("tables", s.tables)
	t.Run("discovery, old and new", s.discovery)
	t.Run("what is not listed answers nevertheless", func(t *testing.T) { s.hidden(t, listing) })
	t.Run("documents", s.documents)
	t.Run("roles", s.roles)
	t.Run("another provider wins as long as it is registered", s.replaced)
}

type served struct {
	config  *rest.Config
	metrics client.Interface
	core    kubernetes.Interface
}

func (s served) reading(t *testing.T) {
	pods := s.metrics.MetricsV1beta1().PodMetricses
	for name, test := range map[string]struct {
		namespace string
		options   metav1.ListOptions
		want      []string
	}{
		"everything, in order":  {"", metav1.ListOptions{}, []string{"bank/db", "shop/web"}},
		"a namespace":           {"shop", metav1.ListOptions{}, []string{"shop/web"}},
		"a namespace of nobody": {"empty", metav1.ListOptions{}, nil},
		"by label":              {"", metav1.ListOptions{LabelSelector: "app in (db)"}, []string{"bank/db"}},
		"by name":               {"", metav1.ListOptions{FieldSelector: "metadata.name=web"}, []string{"shop/web"}},
		"by namespace":          {"", metav1.ListOptions{FieldSelector: "metadata.namespace!=shop"}, []string{"bank/db"}},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := pods(test.namespace).List(t.Context(), test.options)
			require.NoError(t, err)
			var got []string
			for _, pod := range list.Items {
				got = append(got, pod.Namespace+"/"+pod.Name)
				require.Len(t, pod.Containers, 2)
				require.Equal(t, "100m", pod.Containers[0].Usage.Cpu().String())
			}
			require.Equal(t, test.want, got)
		})
	}
	one, err := pods("shop").Get(t.Context(), "web", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"app": "web"}, one.Labels)
	_, err = pods("shop").Get(t.Context(), "db", metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), err)
	_, err = pods("").List(t.Context(), metav1.ListOptions{FieldSelector: "spec.nodeName=x"})
	require.True(t, apierrors.IsBadRequest(err), err)
	_, err = pods("unknown").List(t.Context(), metav1.ListOptions{})
	require.True(t, apierrors.IsServiceUnavailable(err), err)
	require.ErrorContains(t, err, "nothing is known yet")
	_, err = pods("shop").Watch(t.Context(), metav1.ListOptions{})
	require.True(t, apierrors.IsMethodNotSupported(err), err)

	node, err := s.metrics.MetricsV1beta1().NodeMetricses().Get(t.Context(), "node-1", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "3", node.Usage.Cpu().String())
}

func (s served) get(t *testing.T, path, accept string) []byte {
	t.Helper()
	request := s.core.Discovery().RESTClient().Get().AbsPath(path)
	if accept != "" {
		request = request.SetHeader("Accept", accept)
	}
	content, err := request.DoRaw(t.Context())
	require.NoError(t, err)
	return content
}

func (s served) tables(t *testing.T) {
	const accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
	var table metav1.Table
	require.NoError(t, json.Unmarshal(s.get(t, "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods", accept), &table))
	var columns []string
	for _, column := range table.ColumnDefinitions {
		columns = append(columns, column.Name)
	}
	require.Equal(t, []string{"Name", "cpu", "memory", "Window"}, columns)
	require.Len(t, table.Rows, 1)
	require.Equal(t, []any{"web", "120m", "12Mi", "10s"}, table.Rows[0].Cells)
	require.NoError(t, json.Unmarshal(s.get(t, "/apis/metrics.k8s.io/v1beta1/nodes/node-1", accept), &table))
	require.Equal(t, []any{"node-1", "3", "1Gi", "0s"}, table.Rows[0].Cells)
}

func (s served) discovery(t *testing.T) {
	// As kubectl asks, and as clients of before 1.26. The aggregator forgets a provider that
	// was removed by a queue of its own: until then, the group counts as stale.
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		_, all, err := s.core.Discovery().ServerGroupsAndResources()
		require.NoError(t, err)
		found := map[string]string{}
		for _, version := range all {
			if version.GroupVersion == "metrics.k8s.io/v1beta1" {
				for _, resource := range version.APIResources {
					found[resource.Name] = resource.Kind
				}
			}
		}
		require.Equal(t, map[string]string{"pods": "PodMetrics", "nodes": "NodeMetrics"}, found)
	}, time.Minute, 50*time.Millisecond)
	require.Equal(t, 1, s.listed(t))
	require.Contains(t, string(s.get(t, "/apis", "application/yaml")), "groupVersion: metrics.k8s.io/v1beta1")
}

func (s served) hidden(t *testing.T, listing *apigroup.Listing) {
	document := func() error {
		return s.core.Discovery().RESTClient().Get().AbsPath("/apis/metrics.k8s.io/v1beta1").Do(t.Context()).Error()
	}
	require.NoError(t, document())
	listing.Show(false)
	_, all, err := s.core.Discovery().ServerGroupsAndResources()
	require.NoError(t, err)
	require.Greater(t, len(all), 10)
	for _, version := range all {
		require.NotEqual(t, "metrics.k8s.io/v1beta1", version.GroupVersion)
	}
	require.Zero(t, s.listed(t))
	require.True(t, apierrors.IsNotFound(document()), "as of a group that nobody serves")
	_, err = s.metrics.MetricsV1beta1().PodMetricses("shop").Get(t.Context(), "web", metav1.GetOptions{})
	require.NoError(t, err)
	t.Run("another provider", s.replaced)

	listing.Show(true)
	require.NoError(t, document())
	s.discovery(t)
}

// listed counts the group in the old list of groups.
func (s served) listed(t *testing.T) (count int) {
	t.Helper()
	var list metav1.APIGroupList
	require.NoError(t, json.Unmarshal(s.get(t, "/apis", "application/json"), &list))
	require.Greater(t, len(list.Groups), 10)
	for _, group := range list.Groups {
		if group.Name == "metrics.k8s.io" {
			require.Equal(t, "metrics.k8s.io/v1beta1", group.PreferredVersion.GroupVersion)
			require.Len(t, group.Versions, 1)
			count++
		}
	}
	return count
}

func (s served) documents(t *testing.T) {
	text := string(s.get(t, "/openapi/v3/apis/metrics.k8s.io/v1beta1", ""))
	require.Contains(t, text, "/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods/{name}")
	require.Contains(t, text, `"x-kubernetes-group-version-kind":[{"group":"metrics.k8s.io","kind":"PodMetrics","version":"v1beta1"}]`)
}

func (s served) roles(t *testing.T) {
	role, err := s.core.RbacV1().ClusterRoles().Get(t.Context(), "system:aggregated-metrics-reader", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "true", role.Labels["rbac.authorization.k8s.io/aggregate-to-view"])
	require.Equal(t, []rbacv1.PolicyRule{{APIGroups: []string{"metrics.k8s.io"}, Resources: []string{"pods", "nodes"}, Verbs: []string{"get", "list", "watch"}}}, role.Rules)

	nobody := rest.CopyConfig(s.config)
	nobody.Impersonate = rest.ImpersonationConfig{UserName: "nobody"}
	_, err = client.NewForConfigOrDie(nobody).MetricsV1beta1().PodMetricses("shop").List(t.Context(), metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), err)
}

func (s served) replaced(t *testing.T) {
	before := s.listed(t)
	services := aggregator.NewForConfigOrDie(s.config).ApiregistrationV1().APIServices()
	_, err := services.Create(t.Context(), &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: "v1beta1.metrics.k8s.io"},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: "metrics.k8s.io", Version: "v1beta1", GroupPriorityMinimum: 100, VersionPriority: 100, InsecureSkipTLSVerify: true,
			Service: &apiregistrationv1.ServiceReference{Namespace: "default", Name: "not-there", Port: new(int32(443))},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	answers := func(want bool) {
		t.Helper()
		var last error
		err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
			_, last = s.metrics.MetricsV1beta1().PodMetricses("shop").Get(ctx, "web", metav1.GetOptions{})
			return (last == nil) == want, nil
		})
		require.NoError(t, err, "last answer: %v", last)
	}
	answers(false)
	require.Equal(t, 1, s.listed(t))
	require.NoError(t, services.Delete(t.Context(), "v1beta1.metrics.k8s.io", metav1.DeleteOptions{}))
	answers(true)
	require.Equal(t, before, s.listed(t))
}
