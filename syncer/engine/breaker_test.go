package engine

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
)

func allowed(b *breaker, from, to, total int) (count int) {
	for i := from; i < to; i++ {
		if b.Allow("Pod", types.UID(fmt.Sprint(i)), total) {
			count++
		}
	}
	return count
}

func TestAFewOrphansMayGo(t *testing.T) {
	t.Parallel()
	require.Equal(t, breakerFloor, allowed(newBreaker(), 0, breakerFloor, breakerFloor))
}

func TestALostDatabaseTakesNothingWithIt(t *testing.T) {
	t.Parallel()
	b := newBreaker()
	require.Equal(t, 300, allowed(b, 0, 1000, 1000))
	require.Equal(t, 700, b.Held("Pod"))
}

func TestWitnessedDeletionsDoNotCount(t *testing.T) {
	t.Parallel()
	b := newBreaker()
	for i := range 1000 {
		b.Witness(types.UID(fmt.Sprint(i)))
	}
	require.Equal(t, 1000, allowed(b, 0, 1000, 1000))
	require.Zero(t, b.Held("Pod"))
}
