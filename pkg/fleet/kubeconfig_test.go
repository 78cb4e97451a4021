package fleet

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOnlyAKubeconfigOfThisVeryTenantIsOverwritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	require.NoError(t, CheckKubeconfigFile(path, "a", "n"), "nothing is there")
	marked, err := MarkKubeconfig([]byte(kubeconfig), "a", "n", "https://elsewhere")
	require.NoError(t, err)
	require.NoError(t, WriteKubeconfigFile(path, marked))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	server, err := serverOf(marked)
	require.NoError(t, err)
	require.Equal(t, "https://elsewhere", server)

	require.NoError(t, CheckKubeconfigFile(path, "a", "n"))
	require.ErrorContains(t, CheckKubeconfigFile(path, "a", "other"), `is not a kubeconfig of tenant "a" in namespace "other"`)
	require.ErrorContains(t, CheckKubeconfigFile(path, "b", "n"), `is not a kubeconfig of tenant "b" in namespace "n"`)
	require.NoError(t, os.WriteFile(path, []byte(kubeconfig), 0o600))
	require.ErrorContains(t, CheckKubeconfigFile(path, "a", "n"), "is not a kubeconfig of tenant", "one that nobody marked may be the host's")
	require.NoError(t, os.WriteFile(path, []byte("notes"), 0o600))
	require.ErrorContains(t, CheckKubeconfigFile(path, "a", "n"), "is not a kubeconfig:")
	require.ErrorContains(t, CheckKubeconfigFile(dir, "a", "n"), "is a directory")
	require.ErrorContains(t, CheckKubeconfigFile(filepath.Join(dir, "no", "a"), "a", "n"), "there is no such directory")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "no temporary file is left")
}
