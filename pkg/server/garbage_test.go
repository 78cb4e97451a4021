package server

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheCollectorIsEagerAtRestAndLazyInABurst(t *testing.T) {
	t.Parallel()
	p := pace{}
	requirePace := func(cycles uint64, rested bool, percent int) {
		t.Helper()
		next, rests := p.next(cycles)
		p = next
		require.Equal(t, rested, rests)
		require.Equal(t, percent, p.percent(25))
	}
	requirePace(0, false, 25)
	requirePace(1, false, 25)
	requirePace(5, false, 100)
	requirePace(9, false, 100)
	for range calmIntervals - 1 {
		requirePace(1, false, 100)
	}
	requirePace(2, false, 100) // not yet
	for range calmIntervals - 1 {
		requirePace(0, false, 100)
	}
	requirePace(1, true, 25) // memory is given back once after a burst
	requirePace(0, false, 25)
}
