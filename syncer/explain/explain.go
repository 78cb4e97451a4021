package explain

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/plan"
	"nestling.dev/nestling/syncer/resource"
)

// Write is a write of the syncer and what came of it. The zero Write is not remembered.
type Write struct {
	At      time.Time
	Verb    plan.Verb
	Refused string // why, in the tenant's words; empty: it was taken
}

// Known is what the engine remembers of an object, beside what its caches hold.
type Known struct {
	Host    Write // the last one
	Virtual Write // the last that brought something back
	// Held tells that the guard of deletions keeps the host object of a predecessor.
	Held bool
	// Away is since when the host does not answer; zero: it does.
	Away time.Time
}

// Of explains an object of a kind that the syncer knows; nil stands for a host object that
// is not there.
func Of(env resource.Env, kind resource.Kind, virtual, host resource.Object, known Known) Explanation {
	out := Explanation{Object: object(kind.Resource, kind.Name, virtual)}
	switch kind.Direction {
	case resource.ReadOnly:
		out.State, out.Message = Stays, "objects of this kind stay in this cluster: "+kind.About.Virtual
	case resource.FromHost:
		mirror(env, kind, virtual, &out)
	default:
		toHost(env, kind, virtual, host, known, &out)
		out.Status = status(virtual, known.Virtual)
	}
	return out
}

// Staying explains an object of a kind that does not go to the host.
func Staying(gvr schema.GroupVersionResource, kind string, virtual resource.Object, state State, message string) Explanation {
	return Explanation{Object: object(gvr, kind, virtual), State: state, Message: message}
}

func object(gvr schema.GroupVersionResource, kind string, virtual resource.Object) Object {
	return Object{
		Group: gvr.Group, Version: gvr.Version, Resource: gvr.Resource, Kind: kind,
		Namespace: virtual.GetNamespace(), Name: virtual.GetName(), UID: virtual.GetUID(),
	}
}

func mirror(env resource.Env, kind resource.Kind, virtual resource.Object, out *Explanation) {
	if virtual.GetAnnotations()[resource.AnnotationMirror] == "" {
		out.State, out.Message = Stays, "it is this cluster's own: of the host's this cluster shows "+kind.About.Default
		return
	}
	out.State = Mirror
	out.Message = "it shows an object of the host's, which owns " + kind.About.Host
	// Where the host's object is of another namespace, it is nobody's business here.
	if source := env.View.Host(kind.Resource.Resource, virtual.GetName()); source != nil && kind.Everywhere == "" {
		out.Host = hostOf(source)
	}
}

func hostOf(host resource.Object) *Host {
	created := host.GetCreationTimestamp()
	return &Host{Namespace: host.GetNamespace(), Name: host.GetName(), UID: host.GetUID(), Created: &created}
}

func toHost(env resource.Env, kind resource.Kind, virtual, host resource.Object, known Known, out *Explanation) {
	if !kind.Select(env, virtual) {
		out.State, out.Message = Stays, "it stays in this cluster: of this kind, to the host go "+kind.About.Default
		return
	}
	ours := host != nil && resource.IsOurs(env, kind.Name, host) && host.GetAnnotations()[resource.AnnotationUID] == string(virtual.GetUID())
	if ours {
		out.Host = hostOf(host)
	} else {
		out.Host = &Host{Namespace: env.HostNamespace, Name: naming.Host(env.Tenant, virtual.GetNamespace(), virtual.GetName())}
	}
	out.Host.Answer = answer(known.Host, out.Host)
	if desired, err := kind.ToHost(env, virtual); err == nil {
		desired = plan.Stamped(env, kind, virtual, desired)
		// JSON of an API object is an object of JSON: there is no error to tell.
		out.Changes, _ = Changes(kind, virtual, desired)
	}
	judge(env, kind, virtual, host, ours, known, out)
}

// judge says where an object stands, by the plan for it.
func judge(env resource.Env, kind resource.Kind, virtual, host resource.Object, ours bool, known Known, out *Explanation) {
	p := plan.Decide(env, kind, virtual, host)
	say := func(state State, message string, stuck ...Stuck) {
		out.State, out.Message, out.Stuck = state, message, append(out.Stuck, stuck...)
	}
	switch {
	case virtual.GetDeletionTimestamp() != nil:
		say(Ending, ending(virtual, ours), endingOn(virtual, ours)...)
	case p.Event != nil && !(ours && len(p.Actions) > 0):
		say(Refused, "it is not on the host as it should be", Stuck{p.Event.Reason, p.Event.Message})
	case p.Wait != "":
		say(Waiting, "it is not on the host yet", Stuck{plan.ReasonWaiting, p.Wait})
		if known.Host.Refused != "" { // of what is made for it
			out.Stuck = append(out.Stuck, Stuck{plan.ReasonRejected, known.Host.Refused})
		}
		if !known.Away.IsZero() {
			out.Stuck = append(out.Stuck, away(known))
		}
	case host != nil && !ours && known.Held:
		say(Held, "the host object of a predecessor of its name is still there", Stuck{"HostDeletionHeld",
			"so many objects went at once that this cluster's operator has to confirm it: host objects are kept until then"})
	case host != nil && !ours:
		say(Waiting, "the host object of a predecessor of its name is on its way out")
	case known.Host.Refused != "" && (!ours || pending(p)):
		message := "the host does not take it"
		if ours {
			message = "the host has it, but does not take the last change"
		}
		say(Refused, message, Stuck{plan.ReasonRejected, known.Host.Refused})
	case !known.Away.IsZero() && (!ours || pending(p)):
		say(Unreachable, "it waits for the host", away(known))
	case !ours:
		say(Syncing, "it is on its way to the host")
	case pending(p):
		say(Syncing, "the host has it, and a change is on its way")
	default:
		say(Synced, "the host has it, as it should be")
		if reason, message := kind.Pending(virtual); message != "" {
			out.Stuck = append(out.Stuck, Stuck{reason, message})
		}
		if !known.Away.IsZero() {
			out.Stuck = append(out.Stuck, away(known))
		}
	}
}

func away(known Known) Stuck {
	return Stuck{"HostUnreachable", "the host cluster's API does not answer since " + known.Away.UTC().Format(time.RFC3339) + "; what runs keeps running, and all goes on when it is back"}
}

// pending reports whether the host is to be written.
func pending(p plan.Plan) bool {
	for _, action := range p.Actions {
		if action.Side == plan.Host {
			return true
		}
	}
	return false
}

func ending(virtual resource.Object, ours bool) string {
	if ours {
		return "it is being deleted, and so is what the host has of it"
	}
	return "it is being deleted; the host has nothing of it any more"
}

// endingOn is what keeps an object that is being deleted.
func endingOn(virtual resource.Object, ours bool) []Stuck {
	var out []Stuck
	if ours && virtual.GetDeletionGracePeriodSeconds() != nil {
		out = append(out, Stuck{"Terminating", fmt.Sprintf("the host ends it, for which it has %d s", *virtual.GetDeletionGracePeriodSeconds())})
	}
	if finalizers := virtual.GetFinalizers(); len(finalizers) > 0 {
		out = append(out, Stuck{"Finalizers", "it is kept until its finalizers are taken off: " + strings.Join(finalizers, ", ")})
	}
	return out
}

// answer is what the host said last. That it once took an object that is there needs no
// memory.
func answer(last Write, host *Host) *Answer {
	if !last.At.IsZero() {
		return &Answer{Taken: last.Refused == "", Write: string(last.Verb), Time: metav1.NewTime(last.At), Message: last.Refused}
	}
	if host.Created != nil {
		return &Answer{Taken: true, Write: string(plan.Create), Time: *host.Created}
	}
	return nil
}
