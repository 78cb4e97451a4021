package stories

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// parity compares a tenant with its host, which is a stock Kubernetes of the same version.
// What differs has a reason here, or is a mistake.
func parity(t *testing.T, w *World) {
	t.Run("built-in APIs", func(t *testing.T) {
		requireSame(t, builtInAPIs(t, w.HostConfig), builtInAPIs(t, w.A.Config), map[string]string{
			"metrics.k8s.io/v1beta1 nodes": "served in the process, where the host serves it", "metrics.k8s.io/v1beta1 pods": "as above",
		})
	})
	t.Run("feature gates", func(t *testing.T) {
		requireSame(t, featureGates(t, w.HostConfig), featureGates(t, w.A.Config), map[string]string{
			"UnknownVersionInteroperabilityProxy": "there is no other API server to find",
		})
	})
	dns, explains := "the identity of the DNS in the process", "everybody may ask what became of what they may read"
	for _, resource := range []string{"clusterroles", "clusterrolebindings", "roles", "rolebindings"} {
		t.Run(resource+" of upstream's", func(t *testing.T) {
			kind := schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: resource}
			options := metav1.ListOptions{LabelSelector: "kubernetes.io/bootstrapping=rbac-defaults"}
			requireSame(t, objectsOf(t, w.HostConfig, kind, options, "rules", "roleRef", "subjects"), objectsOf(t, w.A.Config, kind, options, "rules", "roleRef", "subjects"),
				map[string]string{"nestling:dns": dns, "kube-system/nestling:dns": dns, "nestling:explainer": explains})
		})
	}
	for _, resource := range []string{"flowschemas", "prioritylevelconfigurations"} {
		t.Run(resource, func(t *testing.T) {
			kind := schema.GroupVersionResource{Group: "flowcontrol.apiserver.k8s.io", Version: "v1", Resource: resource}
			requireSame(t, objectsOf(t, w.HostConfig, kind, metav1.ListOptions{}, "spec"), objectsOf(t, w.A.Config, kind, metav1.ListOptions{}, "spec"), nil)
		})
	}
	t.Run("what aggregated API servers ask for", func(t *testing.T) {
		const name = "extension-apiserver-authentication"
		host, err := w.Host.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(t.Context(), name, metav1.GetOptions{})
		require.NoError(t, err)
		virtual, err := w.A.Client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(t.Context(), name, metav1.GetOptions{})
		require.NoError(t, err)
		require.NotEmpty(t, virtual.Data["requestheader-client-ca-file"])
		require.NotEqual(t, virtual.Data["client-ca-file"], virtual.Data["requestheader-client-ca-file"], "or any user could be any other")
		for key := range host.Data {
			if strings.HasSuffix(key, "-ca-file") {
				require.NotEqual(t, host.Data[key], virtual.Data[key], "the authorities are the tenant's own")
				continue
			}
			require.Equal(t, host.Data[key], virtual.Data[key], key)
		}
	})
}

// requireSame compares by key. A difference with a reason is told in the log; one without
// fails.
func requireSame(t *testing.T, host, virtual map[string]string, reasons map[string]string) {
	t.Helper()
	require.NotEmpty(t, host)
	for key := range maps.Keys(reasons) {
		if host[key] != virtual[key] {
			t.Logf("%s: %q on the host, %q in the tenant: %s", key, host[key], virtual[key], reasons[key])
		}
		delete(host, key)
		delete(virtual, key)
	}
	if diff := cmp.Diff(host, virtual); diff != "" {
		t.Errorf("the tenant differs from the host (-host +tenant):\n%s", diff)
	}
	t.Logf("%d are the same", len(host))
}

// builtInAPIs are the resources that the API server itself serves, with their verbs, and
// none of add-ons: those of CRDs and of other API servers are marked in another way.
func builtInAPIs(t *testing.T, config *rest.Config) map[string]string {
	t.Helper()
	services := objectsOf(t, config, schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"},
		metav1.ListOptions{LabelSelector: "kube-aggregator.kubernetes.io/automanaged=onstart"}, "spec")
	client, err := discovery.NewDiscoveryClientForConfig(config)
	require.NoError(t, err)
	out := map[string]string{}
	for name := range services {
		version, group, _ := strings.Cut(name, ".")
		list, err := client.ServerResourcesForGroupVersion(schema.GroupVersion{Group: group, Version: version}.String())
		require.NoError(t, err, name)
		for _, resource := range list.APIResources {
			verbs := slices.Sorted(slices.Values(resource.Verbs))
			out[list.GroupVersion+" "+resource.Name] = fmt.Sprint(resource.Kind, " ", resource.Namespaced, " ", resource.ShortNames, resource.Categories, verbs)
		}
	}
	return out
}

// featureGates are in the metrics, with whether they are on.
func featureGates(t *testing.T, config *rest.Config) map[string]string {
	t.Helper()
	client, err := discovery.NewDiscoveryClientForConfig(config)
	require.NoError(t, err)
	page, err := client.RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	require.NoError(t, err)
	out := map[string]string{}
	for line := range strings.Lines(string(page)) {
		if rest, ok := strings.CutPrefix(line, `kubernetes_feature_enabled{name="`); ok {
			name, _, _ := strings.Cut(rest, `"`)
			fields := strings.Fields(line)
			out[name] = fields[len(fields)-1]
		}
	}
	return out
}

// objectsOf are a kind's objects by namespace and name, with some of their fields.
func objectsOf(t *testing.T, config *rest.Config, kind schema.GroupVersionResource, options metav1.ListOptions, fields ...string) map[string]string {
	t.Helper()
	client, err := dynamic.NewForConfig(config)
	require.NoError(t, err)
	list, err := client.Resource(kind).List(t.Context(), options)
	require.NoError(t, err)
	out := map[string]string{}
	for _, item := range list.Items {
		key, content := item.GetName(), map[string]any{}
		if item.GetNamespace() != "" {
			key = item.GetNamespace() + "/" + key
		}
		for _, field := range fields {
			content[field] = item.Object[field]
		}
		out[key] = asJSON(content)
	}
	return out
}
