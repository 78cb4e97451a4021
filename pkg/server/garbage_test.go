package server

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheCollectorIsEagerAtRestAndLazyInABurst(t *testing.T) {
	t.Parallel()
	p := pace{}
	var rests []int
	for i, cycles := range []uint64{0, 1, 5, 9, 2, 1, 0, 1, 0, 1, 0, 1, 2, 0} {
		var rested bool
		p, rested = p.next(cycles)
		if rested {
			rests = append(rests, i)
		}
		switch i {
		case 1, 9, 13:
			require.Equal(t, 25, p.percent(25), "interval %d", i)
		case 2, 4, 8:
			require.Equal(t, 100, p.percent(25), "interval %d", i)
		}
	}
	require.Equal(t, []int{9}, rests, "memory is given back once after a burst")
}
