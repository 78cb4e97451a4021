package engine

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Breaker says how many orphans (host objects whose virtual objects are simply not
// there) of one kind may be deleted in the life of a process: MinObjects always, and
// beyond that Share of all host objects of the kind. Share 1 is no limit.
type Breaker struct {
	MinObjects int
	Share      float64
}

// breaker stops the deletion of host objects whose virtual objects are simply not
// there, when an implausible share of them would go at once: the sign of an etcd that
// was lost or restored from an old snapshot. Deletions that this process saw happen
// in the virtual cluster do not count. What it holds stays held until a restart with
// sound data.
type breaker struct {
	limits    Breaker
	report    func(kind string, held int) // called in order
	mu        sync.Mutex
	witnessed map[types.UID]struct{}
	// early and earlier are those whose host object was not in sight when they went: of this
	// period and of the one before.
	early, earlier map[types.UID]struct{}
	turned         time.Time
	orphans        map[string]map[types.UID]struct{} // by kind: what was let through
	held           map[string]map[types.UID]struct{}
	most           map[string]int // by kind: host objects in sight at the most
}

func newBreaker(limits Breaker, report func(kind string, held int)) *breaker {
	return &breaker{
		limits:    limits,
		report:    report,
		witnessed: map[types.UID]struct{}{},
		early:     map[types.UID]struct{}{},
		earlier:   map[types.UID]struct{}{},
		orphans:   map[string]map[types.UID]struct{}{},
		held:      map[string]map[types.UID]struct{}{},
		most:      map[string]int{},
	}
}

// earlyPeriod is how long, at the least, a host object may take to come into sight after
// its virtual object went: the time of a request, and of a watch that has broken.
const earlyPeriod = 10 * time.Minute

// WitnessEarly records that the virtual object with this UID was seen to go when its host
// object was not in sight, which may just have been made.
func (b *breaker) WitnessEarly(uid types.UID, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Sub(b.turned) > earlyPeriod {
		b.early, b.earlier, b.turned = map[types.UID]struct{}{}, b.early, now
	}
	b.early[uid] = struct{}{}
}

// Witness records that the virtual object with this UID was seen to go, and has a host
// object, which tells when to Forget it.
func (b *breaker) Witness(uid types.UID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.witnessed[uid] = struct{}{}
}

// Forget drops what is known of a virtual object whose host object is gone too.
func (b *breaker) Forget(uid types.UID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, known := range []map[types.UID]struct{}{b.witnessed, b.early, b.earlier} {
		delete(known, uid)
	}
}

// Holds reports whether the host object of the virtual object uid is kept.
func (b *breaker) Holds(kind string, uid types.UID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, held := b.held[kind][uid]
	return held
}

// Allow reports whether the host object of the virtual object uid may be deleted as
// an orphan, with total host objects of its kind in sight.
func (b *breaker) Allow(kind string, uid types.UID, total int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, known := range []map[types.UID]struct{}{b.witnessed, b.early, b.earlier} {
		if _, ok := known[uid]; ok {
			b.witnessed[uid] = struct{}{} // its host object is in sight now
			return true
		}
	}
	passed := b.orphans[kind]
	if passed == nil {
		passed, b.held[kind] = map[types.UID]struct{}{}, map[types.UID]struct{}{}
		b.orphans[kind] = passed
	}
	if _, ok := passed[uid]; ok {
		return true
	}
	// The total shrinks while orphans go, and must not take the limit along.
	b.most[kind] = max(b.most[kind], total)
	if limit := max(b.limits.MinObjects, int(b.limits.Share*float64(b.most[kind]))); b.limits.Share < 1 && len(passed) >= limit {
		b.held[kind][uid] = struct{}{}
		b.report(kind, len(b.held[kind]))
		return false
	}
	passed[uid] = struct{}{}
	return true
}
