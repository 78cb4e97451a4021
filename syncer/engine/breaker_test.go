package engine

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
)

func allowed(b *breaker, from, to, total int) (count int) {
	for i := from; i < to; i++ {
		if b.Allow("Pod", types.UID(fmt.Sprint(i)), total-count) {
			count++
		}
	}
	return count
}

func TestAFewOrphansMayGo(t *testing.T) {
	t.Parallel()
	require.Equal(t, 20, allowed(newBreaker(Breaker{MinObjects: 20, Share: 0.3}), 0, 20, 20))
}

func TestALostDatabaseTakesNothingWithIt(t *testing.T) {
	t.Parallel()
	b := newBreaker(Breaker{MinObjects: 20, Share: 0.3})
	require.Equal(t, 300, allowed(b, 0, 1000, 1000))
	require.Equal(t, 700, b.Held("Pod"))
}

func TestAShareOfOneIsNoLimit(t *testing.T) {
	t.Parallel()
	require.Equal(t, 1000, allowed(newBreaker(Breaker{Share: 1}), 0, 1000, 1000))
}

func TestWitnessedDeletionsDoNotCount(t *testing.T) {
	t.Parallel()
	b := newBreaker(Breaker{MinObjects: 20, Share: 0.3})
	for i := range 1000 {
		b.Witness(types.UID(fmt.Sprint(i)))
	}
	require.Equal(t, 1000, allowed(b, 0, 1000, 1000))
	require.Zero(t, b.Held("Pod"))
}
