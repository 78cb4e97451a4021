package namespaces

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRest(t *testing.T) {
	t.Parallel()
	start := time.Unix(0, 0)
	at := func(after time.Duration) time.Time { return start.Add(after) }
	withPods := pause{}.after(true, start)
	without := pause{}.after(false, start)
	tests := map[string]struct {
		pause    pause
		podsLeft bool
		now      time.Time
		want     time.Duration
	}{
		"the first pass waits for nothing":                          {pause{}, true, start, 0},
		"pods that have just been deleted are looked at soon":       {withPods, true, start, firstLook},
		"and the longer they take the seldomer":                     {withPods, true, at(3 * time.Second), 150 * time.Millisecond},
		"the last pod is followed by a pass at once":                {withPods, false, at(time.Millisecond), 0},
		"pods that stay do not put off the next pass for ever":      {withPods, true, at(firstPassBesidePods), 0},
		"a look does not put off a pass":                            {withPods, true, at(firstPassBesidePods - time.Millisecond), time.Millisecond},
		"what has no pods is tried again soon":                      {without, false, start, firstPass},
		"and then later":                                            {without.after(false, start).after(false, start), false, start, 4 * firstPass},
		"when pods have gone it begins anew":                        {withPods.after(true, start).after(false, start), false, start, firstPass},
		"where pods stay for long, they are still looked at":        {manyPasses(true, 20), true, at(time.Hour), 0},
		"what is held for long is tried once in a while":            {manyPasses(false, 20), false, start, lastPass},
		"pods that are held for long are asked for once in a while": {manyPasses(true, 20), true, at(lastPass - time.Millisecond), time.Millisecond},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, test.pause.rest(test.podsLeft, test.now))
		})
	}
}

func manyPasses(pods bool, n int) pause {
	p := pause{}
	for range n {
		p = p.after(pods, time.Unix(0, 0))
	}
	return p
}
