package engine

import (
	"sync"
	"time"

	"nestling.dev/nestling/syncer/resource"
)

const (
	// departedFor is how long an object is remembered that has left the host: kubelet
	// posts its events with a back-off, and a busy one posts them late.
	departedFor = time.Minute
	// departedMost bounds how many are remembered of one kind.
	departedMost = 1000
)

// departed remembers the last objects of a kind that have left the host.
type departed struct {
	mu      sync.Mutex
	entries map[string]departure // by host name
	order   []string             // host names, the earliest departure first
}

type departure struct {
	virtual, host resource.Object
	at            time.Time
}

// Add remembers a host object and its virtual one, which may be nil.
func (d *departed) Add(virtual, host resource.Object, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.entries == nil {
		d.entries = map[string]departure{}
	}
	for len(d.order) > 0 && (len(d.order) >= departedMost || now.Sub(d.entries[d.order[0]].at) > departedFor) {
		delete(d.entries, d.order[0])
		d.order = d.order[1:]
	}
	name := host.GetName()
	if _, again := d.entries[name]; !again {
		d.order = append(d.order, name)
	}
	d.entries[name] = departure{virtual: virtual, host: host, at: now}
}

// Get is what is remembered of a host name.
func (d *departed) Get(name string, now time.Time) (virtual, host resource.Object) {
	d.mu.Lock()
	defer d.mu.Unlock()
	entry, ok := d.entries[name]
	if !ok || now.Sub(entry.at) > departedFor {
		return nil, nil
	}
	return entry.virtual, entry.host
}
