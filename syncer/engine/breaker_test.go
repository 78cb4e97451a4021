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

func ignore(string, int) {}

func TestAFewOrphansMayGo(t *testing.T) {
	t.Parallel()
	require.Equal(t, 20, allowed(newBreaker(Breaker{MinObjects: 20, Share: 0.3}, ignore), 0, 20, 20))
}

func TestALostDatabaseTakesNothingWithIt(t *testing.T) {
	t.Parallel()
	held := 0
	b := newBreaker(Breaker{MinObjects: 20, Share: 0.3}, func(_ string, count int) { held = count })
	require.Equal(t, 300, allowed(b, 0, 1000, 1000))
	require.Equal(t, 700, held)
}

func TestAShareOfOneIsNoLimit(t *testing.T) {
	t.Parallel()
	require.Equal(t, 1000, allowed(newBreaker(Breaker{Share: 1}, ignore), 0, 1000, 1000))
}

func TestWitnessedDeletionsDoNotCount(t *testing.T) {
	t.Parallel()
	held := 0
	b := newBreaker(Breaker{MinObjects: 20, Share: 0.3}, func(_ string, count int) { held = count })
	for i := range 1000 {
		b.Witness(types.UID(fmt.Sprint(i)))
	}
	require.Equal(t, 1000, allowed(b, 0, 1000, 1000))
	require.Zero(t, held)
}
