package resources_test

import (
	"testing"

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
