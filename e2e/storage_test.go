package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"nestling.dev/nestling/e2e/addon/csi"
	"nestling.dev/nestling/e2e/node"
)

// startStorage gives the node a storage driver for as long as the test runs. It goes before
// the tenants, who find out at their start that the host has snapshots.
func startStorage(t *testing.T, root string, host *node.Host) {
	t.Helper()
	programs, err := csi.Build(t.Context(), root)
	require.NoError(t, err)
	driver, err := programs.Start(t.Context(), host)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, driver.Stop()) })
}
