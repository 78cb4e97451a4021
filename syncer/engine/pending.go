package engine

import (
	"maps"
	"sync"
	"time"

	"nestling.dev/nestling/syncer/plan"
	"nestling.dev/nestling/syncer/resource"
)

type clock = func() time.Time

// pending remembers, for what it is measured by, why keys of a kind are in the queue.
// Nothing is decided by it.
type pending struct {
	mu     sync.Mutex
	causes map[resource.Key]cause
}

// cause is what has changed on each side and has not been answered by a write.
type cause struct {
	virtual, host changes
	edited        bool // the host object was changed, its status aside, or is gone
	deleting      bool // we have deleted the host object and not heard yet that it is gone
}

// changes of one side: when the first and the last of them were seen; zero: there is none.
type changes struct{ first, last time.Time }

func (c *changes) add(now time.Time) {
	if c.first.IsZero() {
		c.first = now
	}
	c.last = now
}

// upTo forgets what was seen until then.
func (c *changes) upTo(then time.Time) {
	switch {
	case !c.last.After(then):
		*c = changes{}
	case !c.first.After(then):
		c.first = c.last
	}
}

func (c cause) none() bool { return c == cause{} }

// due is what a write was the answer to.
type due struct {
	since time.Time // zero: to nothing that was seen on the other side
	drift bool      // to something that was done to the host object itself
}

// Virtual records a change of a virtual object.
func (p *pending) Virtual(key resource.Key, now time.Time) {
	p.update(key, func(c *cause) { c.virtual.add(now) })
}

// Host records a change of a host object. Edited says that more than its status changed,
// be it by us; gone, that it has left.
func (p *pending) Host(key resource.Key, edited, gone bool, now time.Time) {
	p.update(key, func(c *cause) {
		c.host.add(now)
		c.edited = c.edited || edited || gone && !c.deleting
		if gone {
			c.deleting = false
		}
	})
}

// Answer tells what a write answers that was sent at that time, which is then no longer
// pending. What has changed while it was on its way is for the next one.
func (p *pending) Answer(key resource.Key, side plan.Side, verb plan.Verb, sent time.Time) (out due) {
	p.update(key, func(c *cause) {
		if side == plan.Virtual {
			out.since = c.host.first
			c.host.upTo(sent)
			return
		}
		out = due{since: c.virtual.first, drift: c.edited && c.virtual.first.IsZero()}
		c.virtual.upTo(sent)
		c.edited = false
		c.deleting = c.deleting || verb == plan.Delete
	})
	return out
}

// Settle forgets what came before start of an attempt that left nothing to do.
func (p *pending) Settle(key resource.Key, start time.Time) {
	p.update(key, func(c *cause) {
		c.virtual.upTo(start)
		if c.host.upTo(start); c.host.first.IsZero() {
			c.edited = false
		}
	})
}

func (p *pending) update(key resource.Key, change func(*cause)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.causes[key]
	change(&c)
	switch {
	case c.none():
		delete(p.causes, key)
	case p.causes == nil:
		p.causes = map[resource.Key]cause{key: c}
	default:
		p.causes[key] = c
	}
}

// touched reports whether an object changed beyond its status. Kinds whose spec the API
// server does not count the changes of are taken to be.
func touched(before, now resource.Object) bool {
	return before == nil || now.GetGeneration() == 0 || before.GetGeneration() != now.GetGeneration() ||
		before.GetUID() != now.GetUID() || (before.GetDeletionTimestamp() == nil) != (now.GetDeletionTimestamp() == nil) ||
		!maps.Equal(before.GetLabels(), now.GetLabels()) || !maps.Equal(before.GetAnnotations(), now.GetAnnotations())
}
