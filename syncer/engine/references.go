package engine

import (
	"sync"

	"nestling.dev/nestling/syncer/resource"
)

// owner is a virtual object that refers to others.
type owner struct {
	resource string
	key      resource.Key
}

// references knows which virtual objects refer to which: kept from the informers'
// events, by each kind's Refs.
type references struct {
	mu   sync.RWMutex
	to   map[owner][]resource.Ref
	from map[resource.Ref]map[owner]struct{}
}

func newReferences() *references {
	return &references{to: map[owner][]resource.Ref{}, from: map[resource.Ref]map[owner]struct{}{}}
}

// Set replaces the references of an owner and returns the targets that gained or
// lost their only reference: their being synced may have changed.
func (r *references) Set(from owner, refs []resource.Ref) (changed []resource.Ref) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := map[resource.Ref]int{}
	for _, ref := range r.to[from] {
		was[ref] = len(r.from[ref])
		delete(r.from[ref], from)
	}
	for _, ref := range refs {
		if r.from[ref] == nil {
			r.from[ref] = map[owner]struct{}{}
		}
		if _, before := was[ref]; !before && len(r.from[ref]) == 0 {
			changed = append(changed, ref)
		}
		r.from[ref][from] = struct{}{}
	}
	for ref := range was {
		if len(r.from[ref]) == 0 {
			delete(r.from, ref)
			changed = append(changed, ref)
		}
	}
	if len(refs) == 0 {
		delete(r.to, from)
	} else {
		r.to[from] = refs
	}
	return changed
}

// Has reports whether anything refers to ref.
func (r *references) Has(ref resource.Ref) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.from[ref]) > 0
}

// From is everything that refers to ref.
func (r *references) From(ref resource.Ref) []owner {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]owner, 0, len(r.from[ref]))
	for from := range r.from[ref] {
		out = append(out, from)
	}
	return out
}
