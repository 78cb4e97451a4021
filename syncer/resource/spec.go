package resource

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Direction is the way in which a kind's spec flows.
type Direction int

const (
	// ToHost: the virtual object is the source, its translation lives in the host
	// namespace, and the host's status comes back.
	ToHost Direction = iota
	// FromHost: the host object is the source and the virtual one mirrors it.
	FromHost
	// ReadOnly: the virtual objects are watched because other kinds' translations
	// read them; nothing is synced.
	ReadOnly
)

// Spec describes how one kind is synced. Functions are pure: they change none of
// their arguments (which come from caches), have no clients and no clock. A nil
// function has the meaning that its comment gives.
type Spec[T Object] struct {
	Resource   schema.GroupVersionResource
	Kind       string
	Namespaced bool
	Direction  Direction
	New        func() T
	// About says for its readers who owns which fields.
	About About
	// Optional kinds are left out where the host does not serve their API, or does not let
	// us use it.
	Optional bool

	// Select reports whether the source object takes part. Nil: all do. An object
	// that stops taking part is treated as if it were gone.
	Select func(env Env, source T) bool
	// Refs are the virtual objects that the virtual object needs. A change of one
	// makes the engine look at this object again. Nil: none.
	Refs func(virtual T) []Ref
	// Wait is what the virtual object's translation waits for before it is created
	// on the host, in words for its user; empty: nothing. Nil: never waits.
	Wait func(env Env, virtual T) string

	// ToHost is the host object that the virtual one wants, without the marks of
	// Stamp, and without fields that the host fills in. An error of type *Rejection
	// is shown to the user and not tried again until the object changes.
	ToHost func(env Env, virtual T) (T, error)
	// MergeHost is live, a copy of the host object that it may change, with all that the
	// virtual side owns taken from desired. Metadata is merged by MergeMeta after it, so
	// annotations of ours in live still tell what was written last. Nil: live is left as
	// it is.
	MergeHost func(env Env, desired, live T) T
	// Adopts reports whether a host object that does not carry our marks is ours to take over
	// all the same: the host has made it for an object of ours. Nil: none is.
	Adopts func(env Env, host T) bool
	// Notice is what of the virtual object its translation leaves out, in words for its user,
	// who is told when the host object is written; nil: nothing. Nil: never any.
	Notice func(env Env, virtual T) *Rejection
	// Replace reports whether live can't be brought to desired, because they differ in a
	// field that the API lets nobody change: it is deleted, and made anew when it is gone.
	// In ToHost kinds live is the host object, in FromHost kinds the virtual one. Nil: never.
	Replace func(desired, live T) bool
	// Replacing (Mortal only) reports whether the virtual object says that its host object
	// was taken away to be made anew (ReasonReplacing): that it is not there is no loss. Nil:
	// none says so.
	Replacing func(virtual T) bool
	// HostParts splits an update of live to want into the writes that it takes, in
	// order: some fields change through subresources only. Nil: one plain write.
	HostParts func(live, want T) []Part[T]

	// ToVirtual (FromHost only) is the virtual object that mirrors host.
	ToVirtual func(env Env, host T) (T, error)
	// VirtualKey (FromHost only) is where the mirror of host is. Nil: under its own key.
	VirtualKey func(env Env, host T) (Key, bool)
	// Sources (FromHost only) are the kinds, by plural, whose host objects decide on mirrors
	// of this kind too: a change of one makes the engine look again at the host objects
	// of the names that it gives (host and mirror are of no namespace). Nil: none.
	Sources map[string]func(host Object) []string
	// Make (FromHost only) is the host object of a name where the host's own is not read: it
	// is made of what the caches hold of Sources. Nil means, for Make, that the host's own
	// objects are read and, for its result, that there is none.
	Make func(env Env, name string) T
	// MergeVirtual is virtual with all that the host side owns taken from host. A
	// changed status is written through the status subresource. Nil: nothing comes back.
	// In FromHost kinds host is the result of ToVirtual.
	MergeVirtual func(env Env, virtual, host T) T
	// Node is the node that the host object is bound to, empty for none; the virtual
	// object is then bound to it through its binding subresource. Nil: not bindable.
	Node func(object T) string
	// Began (Mortal only) reports whether the virtual object shows by itself that its
	// host object was there: one that is missing then is lost, and not made again.
	// Nil: it has a Node.
	Began func(virtual T) bool

	// Reasons say why ToHost changes what it changes, beside MetaReasons: the first that fits
	// a field is its reason.
	Reasons []Reason
	// Pending is what an object that is on the host waits for there, by what has come back of
	// it: a CamelCase reason and words for its user; empty: nothing. Nil: never anything.
	Pending func(virtual T) (reason, message string)
	// Absent is virtual saying of itself, in its status, that it has no host object, and why:
	// a CamelCase reason and a message in the tenant's words. Nil: events alone tell.
	Absent func(env Env, virtual T, reason, message string) T

	// Words is what the host says about the host object of virtual, in the tenant's words.
	// Nil: the names of the object, of its Refs and of its namespace are replaced.
	Words func(env Env, virtual T, text string) string

	// Mortal kinds die with their host object: one that is lost is not made again,
	// the virtual object is deleted. Deletion is graceful and mirrored both ways.
	Mortal bool
	// Outlives (ToHost only) has host objects stay when the tenant is deleted: its anchor
	// does not own them.
	Outlives bool
	// Finalizers (FromHost only) are those that the virtual cluster puts on mirrors. They
	// hold nothing once there is no host object any more.
	Finalizers []string
	// Everywhere (FromHost, namespaced only) is the virtual namespace that gets the mirrors of
	// host objects of all namespaces, under their own names. Empty: host objects are those
	// of the host namespace.
	Everywhere string
	// Unsynced (FromHost only) leaves the virtual side without a cache: it is read when needed.
	Unsynced bool
	// Yields (FromHost only) says that mirrors yield something to objects of the tenant's
	// own, such as being the default: all are looked at again when one of these changes.
	Yields bool
	// NoStatus kinds have no status subresource.
	NoStatus bool
	// Atomic kinds have lists that repeat the key by which a strategic merge tells their
	// elements apart (a Service's port 53, once for UDP and once for TCP): their lists
	// are written whole.
	Atomic bool
}

// About is what the table of kinds tells of one.
type About struct {
	Virtual string // what the virtual side owns
	Host    string // what the host owns
	Default string // which objects take part by default
}

// Part is one write of an update: the object as it is wanted after it, and the
// subresource that it goes through ("" for the object itself).
type Part[T Object] struct {
	Subresource string
	Want        T
}

// ReasonReplacing is what a virtual object of a Mortal kind says by its Absent before its
// host object is deleted because of Replace.
const ReasonReplacing = "HostReplacing"

// Rejection says that an object can't be translated, and why, in words for the
// tenant: they name no host object.
type Rejection struct {
	Reason  string // CamelCase, for the event
	Message string
}

func (r *Rejection) Error() string { return r.Reason + ": " + r.Message }

// Rejectf is a Rejection with a formatted message.
func Rejectf(reason, format string, args ...any) *Rejection {
	return &Rejection{Reason: reason, Message: fmt.Sprintf(format, args...)}
}
