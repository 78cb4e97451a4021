// Package engine carries out the plans of package plan: informers feed queues, queues
// feed workers, a worker observes one object on both sides, asks for the plan and
// writes it. It is the only part of the syncer that does I/O, and it knows no kind:
// whatever is particular to one stands in its resource.Spec.
//
// The engine keeps no state of its own that a restart would lose. What it remembers
// (which host objects it has seen, which deletions it has witnessed, what refers to
// what) only narrows what it may do, and is rebuilt from the caches. The last outcomes of
// the objects that were written last are kept for those who ask what became of one.
package engine
