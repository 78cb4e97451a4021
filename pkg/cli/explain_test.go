package cli

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	fakediscovery "k8s.io/client-go/discovery/fake"
	clienttesting "k8s.io/client-go/testing"

	"nestling.dev/nestling/syncer/explain"
	"nestling.dev/nestling/syncer/resource"
)

func TestExplainTakesNoBadInput(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no object":      {nil, "accepts 1 arg(s), received 0"},
		"no kind":        {[]string{"web"}, `KIND/NAME: "web" is not like pod/web`},
		"no name":        {[]string{"pod/"}, `KIND/NAME: "pod/" is not like pod/web`},
		"two names":      {[]string{"pod/a/b"}, `KIND/NAME: "pod/a/b" is not like pod/web`},
		"a way to print": {[]string{"pod/a", "-o", "wide"}, `--output: "wide" is not json or yaml`},
		"no such file":   {[]string{"pod/a", "--kubeconfig", "/nowhere/at/all"}, "--kubeconfig: stat /nowhere/at/all: no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := run(t, append([]string{"explain"}, test.args...)...)
			require.Equal(t, exitBadInput, code)
			require.Empty(t, stdout)
			require.Equal(t, "nestling: "+test.want+"\n", stderr)
		})
	}
}

func TestKindsInAllSpellings(t *testing.T) {
	t.Parallel()
	served := &fakediscovery.FakeDiscovery{Fake: &clienttesting.Fake{Resources: []*metav1.APIResourceList{
		{GroupVersion: "v1", APIResources: []metav1.APIResource{
			{Name: "pods", SingularName: "pod", Kind: "Pod", Namespaced: true, ShortNames: []string{"po"}},
			{Name: "nodes", SingularName: "node", Kind: "Node"},
		}},
		{GroupVersion: "apps/v1", APIResources: []metav1.APIResource{
			{Name: "deployments", SingularName: "deployment", Kind: "Deployment", Namespaced: true, ShortNames: []string{"deploy"}},
		}},
		{GroupVersion: "metrics.k8s.io/v1beta1", APIResources: []metav1.APIResource{{Name: "pods", Kind: "PodMetrics", Namespaced: true}}},
	}}}
	for spelling, want := range map[string]string{
		"po": "pods", "pod": "pods", "pods": "pods", "Pod": "pods", "pods.v1.": "pods", "node": "nodes", "Node.v1.": "nodes",
		"deploy": "deployments.apps", "deploy.apps": "deployments.apps", "deployment.v1.apps": "deployments.apps", "Deployment.apps": "deployments.apps",
		"pods.metrics.k8s.io": "pods.metrics.k8s.io",
	} {
		mapping, err := mappingOf(served, spelling)
		require.NoError(t, err, spelling)
		require.Equal(t, want, mapping.Resource.GroupResource().String(), spelling)
	}
	_, err := mappingOf(served, "unicorn")
	require.EqualError(t, err, `KIND/NAME: the tenant serves no "unicorn"`)
	require.ErrorAs(t, err, new(*usageError))
}

func TestAnExplanationForPeople(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ago := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: now.Add(-d)} }
	got := explanationText(explain.Explanation{
		Object: explain.Object{Version: "v1", Resource: "pods", Kind: "Pod", Namespace: "shop", Name: "web-0"},
		State:  explain.Synced, Message: "the host has it, as it should be",
		Stuck: []explain.Stuck{{Reason: "Unschedulable", Message: "0/3 nodes are available"}},
		Host: &explain.Host{Namespace: "tenants", Name: "team-a-shop-web-0-x", UID: "u", Created: ago(3 * time.Minute),
			Answer: &explain.Answer{Taken: true, Write: "create", Time: *ago(3 * time.Minute)}},
		Status: &explain.Status{Phase: "Pending", Time: ago(2 * time.Minute), Conditions: []explain.Condition{
			{Type: "nestling.dev/HostSynced", Status: "True", Since: ago(3 * time.Minute)},
			{Type: "PodScheduled", Status: "False", Reason: "Unschedulable", Message: "0/3 nodes are available", Since: ago(2 * time.Minute)},
		}},
		Changes: []explain.FieldChange{
			{Field: "metadata.annotations", Type: resource.Added, Hidden: true, Count: 6, Reason: resource.MetaReasons()[0].Why},
			{Field: "metadata.name", Type: resource.Changed, From: "web-0", To: "team-a-shop-web-0-x", Reason: resource.MetaReasons()[0].Why},
			{Field: "spec.containers[web].env", Type: resource.Added, Hidden: true, Count: 14, Reason: "variables of Services"},
			{Field: "spec.containers[web].envFrom[0].secretRef.name", Type: resource.Changed, From: "key", To: "team-a-shop-key-x", Reason: "names another object"},
			{Field: "spec.hostname", Type: resource.Added, To: "web-0", Reason: "the host name is the pod's name here"},
			{Field: "spec.subdomain", Type: resource.Removed, From: "db", Reason: "the host name is the pod's name here"},
		},
	}, now)
	require.Equal(t, `Object:    Pod shop/web-0
State:     Synced: the host has it, as it should be
Stuck on:  Unschedulable: 0/3 nodes are available
On host:   tenants/team-a-shop-web-0-x (uid u, made 3m ago)
Answer:    create taken 3m ago
Status:    Pending (came back 2m ago)
           PodScheduled is False since 2m: Unschedulable: 0/3 nodes are available

Changed on the way to the host:
  Variables of Services
    spec.containers[web].env  14 added, not shown
  Names another object
    spec.containers[web].envFrom[0].secretRef.name  key -> team-a-shop-key-x
  The host name is the pod's name here
    spec.hostname   added: web-0
    spec.subdomain  removed: db
  Name, marks and owner, as of all objects of this cluster: 7 fields, which -o yaml shows
`, got)
}
