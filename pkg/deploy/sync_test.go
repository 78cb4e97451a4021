package deploy

import (
	"testing"

	"github.com/stretchr/testify/require"

	"nestling.dev/nestling/pkg/config"
)

func TestClaimsAreKeptOnlyWhereTheConfigurationSaysSo(t *testing.T) {
	t.Parallel()
	file := config.Default()
	require.Equal(t, config.DataDelete, file.Sync.PersistentVolumeClaims.OnTenantDelete)
	require.False(t, SyncOptions(file).KeepVolumeClaims)
	require.False(t, SyncOptions(&config.Config{}).KeepVolumeClaims, "nor in a file that leaves it out")
	file.Sync.PersistentVolumeClaims.OnTenantDelete = config.DataRetain
	require.True(t, SyncOptions(file).KeepVolumeClaims)
}
