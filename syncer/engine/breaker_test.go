package engine

import (
	"fmt"
	"testing"
	"time"

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

// A host object may come into sight after its virtual object went.
func TestEarlyDeletionsDoNotCount(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	held := 0
	b := newBreaker(Breaker{MinObjects: 1}, func(_ string, count int) { held = count })
	for i := range 100 {
		b.WitnessEarly(types.UID(fmt.Sprint(i)), now)
		now = now.Add(earlyPeriod / 99)
	}
	require.Equal(t, 100, allowed(b, 0, 100, 100), "for one period they are all remembered")
	require.Zero(t, held)
	b.WitnessEarly("100", now)
	for range 3 {
		now = now.Add(2 * earlyPeriod)
		b.WitnessEarly("101", now)
	}
	require.Equal(t, 1, allowed(b, 100, 101, 100), "one orphan is let through")
	require.Len(t, b.early, 1)
	require.Len(t, b.witnessed, 100, "they have host objects, which tell when to forget them")
	b.Forget("101")
	require.Empty(t, b.early)
}
