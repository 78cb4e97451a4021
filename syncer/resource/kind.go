package resource

import (
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kind is a Spec whose Go type has been erased, so that kinds stand in one list.
// Every function is set; objects may be nil where the Spec's would be.
type Kind struct {
	Resource   schema.GroupVersionResource
	Name       string
	Namespaced bool
	Direction  Direction
	Mortal     bool
	Unsynced   bool
	HasStatus  bool
	Atomic     bool
	Yields     bool
	Optional   bool
	Custom     bool // objects have no Go type here: fields are read by path, and travel as JSON
	Outlives   bool
	Finalizers []string
	Everywhere string
	About      About
	Sources    map[string]func(host Object) []string
	Reasons    []Reason

	New          func() Object
	Select       func(env Env, source Object) bool
	Refs         func(virtual Object) []Ref
	Wait         func(env Env, virtual Object) string
	ToHost       func(env Env, virtual Object) (Object, error)
	MergeHost    func(env Env, desired, live Object) Object
	Adopts       func(env Env, host Object) bool
	Notice       func(env Env, virtual Object) *Rejection
	Replace      func(desired, live Object) bool
	Replacing    func(virtual Object) bool
	HostParts    func(live, want Object) []Part[Object]
	ToVirtual    func(env Env, host Object) (Object, error)
	VirtualKey   func(env Env, host Object) (Key, bool)
	MergeVirtual func(env Env, virtual, host Object) Object
	Node         func(object Object) string
	Pending      func(virtual Object) (reason, message string)
	Absent       func(env Env, virtual Object, reason, message string) Object
	Words        func(env Env, virtual Object, text string) string
	Began        func(virtual Object) bool
	// Make is nil in kinds whose host objects are read.
	Make func(env Env, name string) Object
}

// Erase is the Kind of a Spec, with the defaults that Spec documents.
func (s Spec[T]) Erase() Kind {
	var none T
	_, custom := any(none).(*unstructured.Unstructured)
	kind := Kind{
		Resource: s.Resource, Name: s.Kind, Namespaced: s.Namespaced, Direction: s.Direction,
		Mortal: s.Mortal, Unsynced: s.Unsynced, HasStatus: !s.NoStatus, Atomic: s.Atomic, Yields: s.Yields,
		Optional: s.Optional, Outlives: s.Outlives, Finalizers: s.Finalizers, Everywhere: s.Everywhere, Custom: custom, About: s.About, Sources: s.Sources,
		Reasons:      append(slices.Clone(s.Reasons), MetaReasons()...),
		New:          func() Object { return s.New() },
		Select:       func(Env, Object) bool { return true },
		Refs:         func(Object) []Ref { return nil },
		Wait:         func(Env, Object) string { return "" },
		ToHost:       func(Env, Object) (Object, error) { return nil, nil },
		MergeHost:    func(_ Env, _, live Object) Object { return live },
		Adopts:       func(Env, Object) bool { return false },
		Notice:       func(Env, Object) *Rejection { return nil },
		Replace:      func(_, _ Object) bool { return false },
		Replacing:    func(Object) bool { return false },
		HostParts:    func(_, want Object) []Part[Object] { return []Part[Object]{{Want: want}} },
		ToVirtual:    func(Env, Object) (Object, error) { return nil, nil },
		VirtualKey:   func(_ Env, host Object) (Key, bool) { return KeyOf(host), true },
		MergeVirtual: func(_ Env, virtual, _ Object) Object { return virtual },
		Node:         func(Object) string { return "" },
		Pending:      func(Object) (string, string) { return "", "" },
		Absent:       func(_ Env, virtual Object, _, _ string) Object { return virtual },
	}
	if s.Select != nil {
		kind.Select = func(env Env, source Object) bool { return s.Select(env, source.(T)) }
	}
	if s.Refs != nil {
		kind.Refs = func(virtual Object) []Ref { return s.Refs(virtual.(T)) }
	}
	if s.Wait != nil {
		kind.Wait = func(env Env, virtual Object) string { return s.Wait(env, virtual.(T)) }
	}
	if s.ToHost != nil {
		kind.ToHost = func(env Env, virtual Object) (Object, error) {
			desired, err := s.ToHost(env, virtual.(T))
			if err != nil {
				return nil, err
			}
			return desired, nil
		}
	}
	if s.MergeHost != nil {
		kind.MergeHost = func(env Env, desired, live Object) Object {
			return s.MergeHost(env, desired.(T), live.(T))
		}
	}
	if s.Adopts != nil {
		kind.Adopts = func(env Env, host Object) bool { return s.Adopts(env, host.(T)) }
	}
	if s.Notice != nil {
		kind.Notice = func(env Env, virtual Object) *Rejection { return s.Notice(env, virtual.(T)) }
	}
	if s.Replace != nil {
		kind.Replace = func(desired, live Object) bool { return s.Replace(desired.(T), live.(T)) }
	}
	if s.Replacing != nil {
		kind.Replacing = func(virtual Object) bool { return s.Replacing(virtual.(T)) }
	}
	if s.HostParts != nil {
		kind.HostParts = func(live, want Object) []Part[Object] {
			var out []Part[Object]
			for _, part := range s.HostParts(live.(T), want.(T)) {
				out = append(out, Part[Object]{Subresource: part.Subresource, Want: part.Want})
			}
			return out
		}
	}
	if s.ToVirtual != nil {
		kind.ToVirtual = func(env Env, host Object) (Object, error) {
			desired, err := s.ToVirtual(env, host.(T))
			if err != nil {
				return nil, err
			}
			return desired, nil
		}
	}
	if s.VirtualKey != nil {
		kind.VirtualKey = func(env Env, host Object) (Key, bool) { return s.VirtualKey(env, host.(T)) }
	}
	if s.MergeVirtual != nil {
		kind.MergeVirtual = func(env Env, virtual, host Object) Object {
			return s.MergeVirtual(env, virtual.(T), host.(T))
		}
	}
	kind.Words = func(env Env, virtual Object, text string) string {
		return TextAbout(env, virtual, kind.Refs(virtual), text)
	}
	if s.Words != nil {
		kind.Words = func(env Env, virtual Object, text string) string { return s.Words(env, virtual.(T), text) }
	}
	if s.Pending != nil {
		kind.Pending = func(virtual Object) (string, string) { return s.Pending(virtual.(T)) }
	}
	if s.Absent != nil {
		kind.Absent = func(env Env, virtual Object, reason, message string) Object {
			return s.Absent(env, virtual.(T), reason, message)
		}
	}
	if s.Node != nil {
		kind.Node = func(object Object) string { return s.Node(object.(T)) }
	}
	if s.Make != nil {
		kind.Make = func(env Env, name string) Object {
			// A nil T in an Object would not be nil.
			if host := s.Make(env, name); !reflect.ValueOf(host).IsNil() {
				return host
			}
			return nil
		}
	}
	kind.Began = func(virtual Object) bool { return kind.Node(virtual) != "" }
	if s.Began != nil {
		kind.Began = func(virtual Object) bool { return s.Began(virtual.(T)) }
	}
	return kind
}
