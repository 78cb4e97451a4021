package server

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// garbageInterval is how often the collector's pace is looked at.
	// A burst may be over in seconds, and the first of them cost most.
	garbageInterval = 500 * time.Millisecond
	// busyCycles is how many collections within one interval mean that the process is
	// busy (at rest there is one in ten seconds or more), and calmIntervals how many
	// intervals with at most one mean that it is at rest.
	busyCycles    = 2
	calmIntervals = 20
	// busyFactor is by how much more the heap may grow while the process is busy.
	busyFactor = 4
	// settleAfter is when the start is over, the controllers' first round included.
	settleAfter = 20 * time.Second
)

// pace decides how eagerly Go collects garbage. At rest a small heap is worth more than
// processor time, of which hardly any is used: a host carries many tenants, most of
// them idle. In a burst it is the other way round. (A fixed GOGC of 50 took a quarter
// of the processor time of a burst, and a third more memory at rest than one of 25.)
type pace struct {
	busy bool
	calm int // intervals at rest in a row
}

// next is the pace after an interval in which the collector ran cycles times. rested
// says that a busy time is over, and its memory can be given back.
func (p pace) next(cycles uint64) (out pace, rested bool) {
	switch {
	case cycles >= busyCycles:
		return pace{busy: true}, false
	case !p.busy:
		return p, false
	case cycles > 1:
		return pace{busy: true}, false
	case p.calm+1 < calmIntervals:
		return pace{busy: true, calm: p.calm + 1}, false
	default:
		return pace{}, true
	}
}

// percent is GOGC at this pace, where resting is that at rest.
func (p pace) percent(resting int) int {
	if p.busy {
		return resting * busyFactor
	}
	return resting
}

// keepPace adapts GOGC until ctx ends. The start is busy too, but what it makes stays:
// collected lazily, it lies scattered, and costs 40 MB for as long as the process lives.
func keepPace(ctx context.Context, resting int) {
	var now pace
	debug.SetGCPercent(now.percent(resting))
	select {
	case <-ctx.Done():
		return
	case <-time.After(settleAfter):
		debug.FreeOSMemory()
	}
	sample := []metrics.Sample{{Name: "/gc/cycles/automatic:gc-cycles"}}
	metrics.Read(sample)
	before := sample[0].Value.Uint64()
	ticker := time.NewTicker(garbageInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		metrics.Read(sample)
		cycles := sample[0].Value.Uint64()
		was := now
		var rested bool
		now, rested = now.next(cycles - before)
		before = cycles
		if was.busy != now.busy {
			debug.SetGCPercent(now.percent(resting))
		}
		if rested {
			debug.FreeOSMemory()
		}
	}
}
