package plan

import (
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	"nestling.dev/nestling/syncer/resource"
)

// Reasons of events on virtual objects, and of what they say of themselves.
const (
	ReasonNameTaken = "HostNameTaken"
	ReasonRejected  = "HostRejected"
	ReasonWaiting   = "HostSyncWaiting"
)

// Patience is how long an object may wait for others without a word to its user. Nearly
// every pod waits for a moment, for its tokens: to say so would cost a write each.
const Patience = 10 * time.Second

// Absent has a virtual object say of itself that it has no host object, and why. There is
// nothing to write for one that says so already, or that was on the host once.
func Absent(env resource.Env, kind resource.Kind, virtual resource.Object, reason, message string) []Action {
	if virtual.GetDeletionTimestamp() != nil || kind.Began(virtual) {
		return nil
	}
	want := kind.Absent(env, clone(virtual), reason, message)
	if equality.Semantic.DeepEqual(virtual, want) {
		return nil
	}
	return []Action{{Side: Virtual, Verb: Patch, Subresource: "status", Live: virtual, Want: want, Reason: "host object is absent"}}
}

// withAbsence is a plan that tells the user by an event, and on the object, why nothing of
// it is on the host.
func withAbsence(env resource.Env, kind resource.Kind, virtual resource.Object, told Plan) Plan {
	told.Actions = append(told.Actions, Absent(env, kind, virtual, told.Event.Reason, told.Event.Message)...)
	return told
}

// waiting is the plan for an object that can't go to the host yet.
func waiting(env resource.Env, kind resource.Kind, virtual resource.Object, reason string) Plan {
	out := Plan{Wait: reason}
	if created := virtual.GetCreationTimestamp(); !created.IsZero() && env.Now.Sub(created.Time) >= Patience {
		out.Actions = Absent(env, kind, virtual, ReasonWaiting, "not on the host yet: "+reason)
	}
	return out
}
