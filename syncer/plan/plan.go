// Package plan decides what a virtual object and its host object need, as a list of
// writes. It is the heart of the syncer and entirely pure: no clients, no clock, no
// context. The same observation always gives the same plan, and the plan of a world
// in which the last plan has been carried out is empty.
package plan

import (
	"fmt"
	"time"

	"nestling.dev/nestling/syncer/resource"
)

// Side is where an action writes.
type Side string

const (
	Virtual Side = "virtual"
	Host    Side = "host"
)

// Verb is what an action does.
type Verb string

const (
	Create Verb = "create"
	Patch  Verb = "patch"  // brings Live to Want
	Bind   Verb = "bind"   // binds Live to Node through the binding subresource
	Delete Verb = "delete" // of Live, by its UID
)

// Action is one write.
type Action struct {
	Side Side
	Verb Verb
	// Subresource that a Patch goes through; "" is the object itself.
	Subresource string
	// Live is the object as it was observed; nil for Create.
	Live resource.Object
	// Want is the object as it is wanted; nil for Bind and Delete.
	Want resource.Object
	Node string
	// GracePeriodSeconds of a Delete; nil leaves it to the server.
	GracePeriodSeconds *int64
	// Orphan marks the deletion of a host object whose virtual one is gone: what the
	// engine's breaker counts.
	Orphan bool
	// Exact confines a Delete to Live as it was observed, whatever has changed since.
	Exact  bool
	Reason string // for logs
}

// Event is what the user of the virtual object is told.
type Event struct {
	Type, Reason, Message string
}

// Plan is what to do about one object now. The zero Plan is contentment.
type Plan struct {
	Actions []Action
	Wait    string // why nothing is done yet; the engine looks again when a Ref changes
	// RequeueAfter asks for another look after this time, whatever else happens; 0: no.
	RequeueAfter time.Duration
	Event        *Event
}

// Empty reports whether there is nothing to do, to say or to wait for.
func (p Plan) Empty() bool { return len(p.Actions) == 0 && p.Wait == "" && p.Event == nil }

// String is the plan for logs and goldens: verbs and names, never content.
func (p Plan) String() string {
	out := ""
	for _, a := range p.Actions {
		object := a.Want
		if object == nil {
			object = a.Live
		}
		out += fmt.Sprintf("%s %s %s", a.Verb, a.Side, resource.KeyOf(object).Name)
		if a.Subresource != "" {
			out += "/" + a.Subresource
		}
		if a.Node != "" {
			out += " to " + a.Node
		}
		if a.GracePeriodSeconds != nil {
			out += fmt.Sprintf(" grace %ds", *a.GracePeriodSeconds)
		}
		out += ": " + a.Reason + "\n"
	}
	if p.Wait != "" {
		out += "wait: " + p.Wait + "\n"
	}
	if p.Event != nil {
		out += fmt.Sprintf("event %s %s: %s\n", p.Event.Type, p.Event.Reason, p.Event.Message)
	}
	return out
}
