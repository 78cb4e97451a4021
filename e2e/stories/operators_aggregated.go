package stories

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"

	"nestling.dev/nestling/e2e/operators"
)

// sampleGroup is the API group of upstream's sample API server.
const sampleGroup = "wardle.example.com"

// aggregatedAPI installs upstream's sample API server by its own manifests.
func aggregatedAPI(t *testing.T, w *World, tenant *Tenant) {
	manifests, err := w.Operators.SampleAPIServer(t.Context())
	require.NoError(t, err)
	apply(t, w, tenant, "", string(manifests))
	space := namespace(t, tenant, "flunders")
	flunders := dynamicOf(t, tenant, sampleGroup, "v1alpha1", "flunders", space)
	list := func(ctx context.Context) error {
		_, err := flunders.List(ctx, metav1.ListOptions{})
		return err
	}
	took := lag(t, tenant, operators.SampleAPIServerNamespace, "apiserver=true", list)
	w.Report(fmt.Sprintf("From the readiness of an aggregated API server's pod, which has no probe, to its first answer: %d ms", took.Milliseconds()))
	requireAvailable(t, tenant, "True")

	t.Run("its objects are served as any", func(t *testing.T) { flundersServed(t, w, tenant, space, flunders) })
	t.Run("it asks the tenant who comes, and what they may", func(t *testing.T) { delegated(t, w, tenant, space) })
	t.Run("without its pods the rest goes on", func(t *testing.T) {
		scale(t, tenant, operators.SampleAPIServerNamespace, "wardle-server", 0)
		eventually(t, "the API to be unavailable", func(ctx context.Context) (bool, string) {
			err := list(ctx)
			return apierrors.IsServiceUnavailable(err), errText(err)
		})
		requireAvailable(t, tenant, "False")
		_, err := tenant.Client.CoreV1().ConfigMaps(space).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "other"}}, metav1.CreateOptions{})
		require.NoError(t, err)
		eventually(t, "discovery to say that one API is missing", func(context.Context) (bool, string) {
			_, lists, err := tenant.Client.Discovery().ServerGroupsAndResources()
			missing, _ := discovery.GroupDiscoveryFailedErrorGroups(err)
			require.True(t, slices.ContainsFunc(lists, func(list *metav1.APIResourceList) bool { return list.GroupVersion == "apps/v1" }), "the rest of it is whole")
			return len(missing) == 1 && missing[schema.GroupVersion{Group: sampleGroup, Version: "v1alpha1"}] != nil, errText(err)
		})
		runPod(t, w, tenant, space, "{metadata: {name: meanwhile}, spec: {containers: [{name: main, image: IMAGE}]}}")

		scale(t, tenant, operators.SampleAPIServerNamespace, "wardle-server", 1)
		took := lag(t, tenant, operators.SampleAPIServerNamespace, "apiserver=true", list)
		w.Report(fmt.Sprintf("The same after an outage of the aggregated API server: %d ms", took.Milliseconds()))
		requireAvailable(t, tenant, "True")
	})
	t.Run("namespaces take its objects with them, and it leaves nothing", func(t *testing.T) {
		_, err := flunders.Create(t.Context(), flunder("last"), metav1.CreateOptions{})
		require.NoError(t, err)
		require.NoError(t, tenant.Client.CoreV1().Namespaces().Delete(t.Context(), space, metav1.DeleteOptions{}))
		waitNamespaceGone(t, tenant, space)

		begin := time.Now()
		kubectl(t, w, tenant, "", "delete", "apiservice", "v1alpha1."+sampleGroup)
		// It would stay for all of its grace period.
		scale(t, tenant, operators.SampleAPIServerNamespace, "wardle-server", 0)
		kubectl(t, w, tenant, operators.SampleAPIServerNamespace, "delete", "pods", "--all", "--grace-period=1", "--wait=false")
		waitPodsGone(t, tenant, operators.SampleAPIServerNamespace)
		require.NoError(t, tenant.Client.CoreV1().Namespaces().Delete(t.Context(), operators.SampleAPIServerNamespace, metav1.DeleteOptions{}))
		waitNamespaceGone(t, tenant, operators.SampleAPIServerNamespace)
		within(w, "From the removal of an aggregated API to the end of its server's namespace", begin)
		require.NotContains(t, kubectl(t, w, tenant, "", "api-versions"), sampleGroup)
	})
}

func flundersServed(t *testing.T, w *World, tenant *Tenant, space string, flunders dynamic.ResourceInterface) {
	seen, err := flunders.Watch(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	defer seen.Stop()
	manifest, err := w.Operators.Flunder(t.Context())
	require.NoError(t, err)
	eventually(t, "the tenant's discovery and OpenAPI to know it", func(context.Context) (bool, string) {
		resources, err := tenant.Client.Discovery().ServerResourcesForGroupVersion(sampleGroup + "/v1alpha1")
		if err != nil || len(resources.APIResources) < 2 {
			return false, errText(err)
		}
		_, lists, err := tenant.Client.Discovery().ServerGroupsAndResources() // all at once, which is what kubectl asks for
		listed := slices.ContainsFunc(lists, func(list *metav1.APIResourceList) bool {
			return list.GroupVersion == sampleGroup+"/v1alpha1" &&
				slices.ContainsFunc(list.APIResources, func(resource metav1.APIResource) bool { return resource.Name == "flunders" })
		})
		if err != nil || !listed {
			return false, errText(err)
		}
		paths, err := tenant.Client.Discovery().OpenAPIV3().Paths()
		_, known := paths["apis/"+sampleGroup+"/v1alpha1"]
		return known, errText(err)
	})
	kubectlInput(t, w, tenant, space, string(manifest), "apply", "-f", "-")
	require.Contains(t, kubectl(t, w, tenant, space, "get", "flunders", "-l", "sample-label=true"), "my-first-flunder")
	require.Contains(t, kubectl(t, w, tenant, space, "explain", "flunder.spec.reference"), "A name of another flunder or fischer")
	require.Regexp(t, `fischers +wardle.example.com/v1alpha1 +false +Fischer`, kubectl(t, w, tenant, space, "api-resources", "--api-group="+sampleGroup))
	kubectl(t, w, tenant, space, "label", "flunder", "my-first-flunder", "more=true")
	require.NoError(t, flunders.Delete(t.Context(), "my-first-flunder", metav1.DeleteOptions{}))
	for _, want := range []watch.EventType{watch.Added, watch.Modified, watch.Deleted} {
		select {
		case event := <-seen.ResultChan():
			require.Equal(t, want, event.Type)
			require.Equal(t, "my-first-flunder", event.Object.(*unstructured.Unstructured).GetName())
		case <-time.After(patience):
			t.Fatalf("no event %s", want)
		}
	}
	// Its own admission has informers of its own, on its own API, through the tenant's.
	fischers := dynamicOf(t, tenant, sampleGroup, "v1alpha1", "fischers", "")
	_, err = fischers.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": sampleGroup + "/v1alpha1", "kind": "Fischer", "metadata": map[string]any{"name": "strict"}, "disallowedFlunders": []any{"banned"},
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
	eventually(t, "a flunder to be refused", func(ctx context.Context) (bool, string) {
		_, err := flunders.Create(ctx, flunder("banned"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return apierrors.IsForbidden(err), errText(err)
	})
	require.NoError(t, fischers.Delete(t.Context(), "strict", metav1.DeleteOptions{}))
}

func flunder(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": sampleGroup + "/v1alpha1", "kind": "Flunder", "metadata": map[string]any{"name": name},
	}}
}

// delegated goes past the tenant's API server, straight to the sample one.
func delegated(t *testing.T, w *World, tenant *Tenant, space string) {
	service, err := tenant.Client.CoreV1().Services(operators.SampleAPIServerNamespace).Get(t.Context(), "api", metav1.GetOptions{})
	require.NoError(t, err)
	client := runPod(t, w, tenant, space, "{metadata: {name: client}, spec: {containers: [{name: main, image: IMAGE}]}}")
	ask := func(token string) string {
		return fmt.Sprintf(`curl -sSk -m 10 -o /tmp/answer -w '%%{http_code} ' -H "Authorization: Bearer %s" https://%s/apis/%s/v1alpha1/namespaces/%s/flunders; head -c 400 /tmp/answer`,
			token, service.Spec.ClusterIP, sampleGroup, space)
	}
	const own = "$(cat /var/run/secrets/kubernetes.io/serviceaccount/token)"
	answers := func(token, start, words string) {
		t.Helper()
		eventually(t, "an answer "+start+" with "+words, func(ctx context.Context) (bool, string) {
			answer, err := tryShell(ctx, tenant, client, "", ask(token))
			return err == nil && strings.HasPrefix(answer, start) && strings.Contains(answer, words), answer + errText(err)
		})
	}
	answers("nonsense", "401", "Unauthorized")
	answers(own, "403", fmt.Sprintf(`User \"system:serviceaccount:%s:default\" cannot list resource \"flunders\"`, space))
	// Another, since the sample remembers for ten seconds whom it has refused.
	kubectl(t, w, tenant, space, "create", "serviceaccount", "reader")
	kubectl(t, w, tenant, space, "create", "role", "flunders", "--verb=list", "--resource=flunders."+sampleGroup)
	kubectl(t, w, tenant, space, "create", "rolebinding", "flunders", "--role=flunders", "--serviceaccount="+space+":reader")
	answers(strings.TrimSpace(kubectl(t, w, tenant, space, "create", "token", "reader")), "200", "FlunderList")
}

// requireAvailable waits for the condition of the sample API.
func requireAvailable(t *testing.T, tenant *Tenant, want string) {
	t.Helper()
	services := dynamicOf(t, tenant, "apiregistration.k8s.io", "v1", "apiservices", "")
	eventually(t, "APIService available: "+want, func(ctx context.Context) (bool, string) {
		found, err := services.Get(ctx, "v1alpha1."+sampleGroup, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		conditions, _, _ := unstructured.NestedSlice(found.Object, "status", "conditions")
		for _, entry := range conditions {
			if condition, ok := entry.(map[string]any); ok && condition["type"] == "Available" && condition["status"] == want {
				return true, ""
			}
		}
		return false, asJSON(conditions)
	})
}

// waitPodsGone comes before the deletion of a namespace, which would look again only after
// half of their grace.
func waitPodsGone(t *testing.T, tenant *Tenant, namespace string) {
	t.Helper()
	eventually(t, "pods of "+namespace+" to go", func(ctx context.Context) (bool, string) {
		pods, err := tenant.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		return err == nil && len(pods.Items) == 0, errText(err)
	})
}

// waitNamespaceGone tells what holds it.
func waitNamespaceGone(t *testing.T, tenant *Tenant, name string) {
	t.Helper()
	eventually(t, "namespace "+name+" to go", func(ctx context.Context) (bool, string) {
		found, err := tenant.Client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return apierrors.IsNotFound(err), err.Error()
		}
		return false, asJSON(found.Status)
	})
}
