package engine

import (
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/lru"

	"nestling.dev/nestling/syncer/explain"
	"nestling.dev/nestling/syncer/plan"
)

// outcomesMost bounds how many objects' last writes are remembered of each sort: what went
// well is soon old news, and what fails is tried again and noted again.
const outcomesMost = 512

// outcomes are the last writes of the objects that were written last, by virtual UID.
type outcomes struct {
	taken, refused, shown *lru.Cache // to the host, and back
}

func newOutcomes() *outcomes {
	return &outcomes{taken: lru.New(outcomesMost), refused: lru.New(outcomesMost), shown: lru.New(outcomesMost)}
}

// Note remembers a write; refused is why it was not taken, empty if it was.
func (o *outcomes) Note(uid types.UID, action plan.Action, refused string, now time.Time) {
	write := explain.Write{At: now, Verb: action.Verb, Refused: refused}
	switch {
	case action.Side == plan.Virtual:
		o.shown.Add(uid, write)
	case refused != "":
		o.refused.Add(uid, write)
	default:
		o.refused.Remove(uid)
		o.taken.Add(uid, write)
	}
}

// Last are the last writes to the host and back; zero: none is remembered.
func (o *outcomes) Last(uid types.UID) (host, virtual explain.Write) {
	get := func(cache *lru.Cache) explain.Write {
		write, _ := cache.Get(uid)
		out, _ := write.(explain.Write)
		return out
	}
	if host = get(o.refused); host.At.IsZero() {
		host = get(o.taken)
	}
	return host, get(o.shown)
}

// contact is since when the host does not answer.
type contact struct{ away atomic.Int64 } // nanoseconds of Unix; 0: it answers

func (c *contact) Since() time.Time {
	if away := c.away.Load(); away != 0 {
		return time.Unix(0, away)
	}
	return time.Time{}
}

// heardHost is told how a request to the host went.
func (e *Engine) heardHost(err error) {
	if answered(err) {
		e.contact.away.Store(0)
		return
	}
	e.contact.away.CompareAndSwap(0, e.options.Now().UnixNano())
}
