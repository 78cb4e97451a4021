package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"nestling.dev/nestling/e2e/addon/nameserver"
	"nestling.dev/nestling/e2e/stories"
)

// simhostAPI is the ClusterIP of default/kubernetes on a simulated host.
const simhostAPI = "10.96.0.1"

// names are the nameservers around tenants, IP:PORT.
type names struct{ upstream, corp string }

// startNames serves them at an address of the test's, until it ends.
func startNames(t *testing.T, ip, apiIP string) names {
	t.Helper()
	host, err := stories.HostNames(apiIP)
	require.NoError(t, err)
	serve := func(zone string) string {
		server, err := nameserver.Start(ip, zone)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, server.Stop()) })
		return server.Address
	}
	return names{upstream: serve(host), corp: serve(stories.CorpNames)}
}
