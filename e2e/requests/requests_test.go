package requests

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCountsOfOneStretch(t *testing.T) {
	t.Parallel()
	get, patch, lease := Kind{"GET", "pods"}, Kind{"PATCH", "pods/status"}, Kind{"PUT", "leases"}
	since := Counts{get: 5, patch: 3, lease: 2}.Since(Counts{get: 5, patch: 1, lease: 1})
	require.Equal(t, Counts{patch: 2, lease: 1}, since)
	require.Equal(t, "2 PATCH pods/status, 1 PUT leases", since.String())
	require.Equal(t, 3, since.Total())
	require.Equal(t, Counts{patch: 2}, since.Writes(func(kind Kind) bool { return kind.Resource != "leases" }))
	require.Empty(t, Counts{get: 1}.Writes(nil))
}
