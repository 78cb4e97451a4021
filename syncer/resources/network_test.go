package resources_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
	"nestling.dev/nestling/syncer/resources/golden"
)

func TestEndpoints(t *testing.T)       { t.Parallel(); golden.Run(t, resources.Endpoints()) }
func TestEndpointSlices(t *testing.T)  { t.Parallel(); golden.Run(t, resources.EndpointSlices()) }
func TestIngresses(t *testing.T)       { t.Parallel(); golden.Run(t, resources.Ingresses()) }
func TestIngressClasses(t *testing.T)  { t.Parallel(); golden.Run(t, resources.IngressClasses()) }
func TestNetworkPolicies(t *testing.T) { t.Parallel(); golden.Run(t, resources.NetworkPolicies()) }
func TestPodDisruptionBudgets(t *testing.T) {
	t.Parallel()
	golden.Run(t, resources.PodDisruptionBudgets())
}

// An event names its object by kind, and what it is about is looked up by the plural: of
// every kind that goes to the host.
func TestEventsFindEveryKind(t *testing.T) {
	t.Parallel()
	for _, kind := range resources.Registry(resources.Options{ServiceAccounts: true, Snapshots: true}) {
		if kind.Direction != resource.ToHost {
			continue
		}
		if plural, _ := meta.UnsafeGuessKindToResource(kind.Resource.GroupVersion().WithKind(kind.Name)); plural != kind.Resource {
			t.Errorf("events about a %s would be looked for among %s", kind.Name, plural.Resource)
		}
	}
}
