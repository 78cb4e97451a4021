package explain

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"nestling.dev/nestling/syncer/resource"
)

// State is in one word where an object stands.
type State string

const (
	Synced      State = "Synced"      // the host has it as it should be
	Syncing     State = "Syncing"     // a write is on its way
	Waiting     State = "Waiting"     // for something else, before it goes to the host
	Refused     State = "Refused"     // by the host, or because it can't be translated
	Unreachable State = "Unreachable" // the host does not answer
	Held        State = "Held"        // by the guard of deletions
	Ending      State = "Ending"      // it is being deleted
	Mirror      State = "Mirror"      // it shows an object of the host's
	Stays       State = "Stays"       // in this cluster, by design
	NotSynced   State = "NotSynced"   // its kind does not go to the host in this cluster
)

// Explanation of one object.
type Explanation struct {
	Object Object `json:"object"`
	State  State  `json:"state"`
	// Message is the state in a sentence.
	Message string `json:"message"`
	// Stuck is on what, from the innermost on; empty: on nothing.
	Stuck []Stuck `json:"stuck,omitempty"`
	// Host is what it became there; nil: nothing.
	Host *Host `json:"host,omitempty"`
	// Changes are what was changed on the way, and why.
	Changes []FieldChange `json:"changes,omitempty"`
	// Status is what came back.
	Status *Status `json:"status,omitempty"`
	// Pods are those of a workload.
	Pods *Pods `json:"pods,omitempty"`
}

// Object names an object of the virtual cluster.
type Object struct {
	Group     string    `json:"group,omitempty"`
	Version   string    `json:"version"`
	Resource  string    `json:"resource"`
	Kind      string    `json:"kind"`
	Namespace string    `json:"namespace,omitempty"`
	Name      string    `json:"name"`
	UID       types.UID `json:"uid,omitempty"`
}

// Stuck is something that has to change first.
type Stuck struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Host is the host's side of an object.
type Host struct {
	Namespace string    `json:"namespace,omitempty"`
	Name      string    `json:"name"`
	UID       types.UID `json:"uid,omitempty"` // empty: it is not there
	// Created is when it was made; nil: it is not there.
	Created *metav1.Time `json:"created,omitempty"`
	// Answer is what the host said to the last write; nil: it was not asked.
	Answer *Answer `json:"answer,omitempty"`
}

// Answer of the host to a write.
type Answer struct {
	Taken bool `json:"taken"`
	// Write is what was asked: create, patch or delete.
	Write string      `json:"write"`
	Time  metav1.Time `json:"time"`
	// Message is why it was refused, in the tenant's words.
	Message string `json:"message,omitempty"`
}

// FieldChange is a field that is not the same on the host.
type FieldChange struct {
	Field string              `json:"field"`
	Type  resource.ChangeType `json:"type"`
	// From and To are values as texts, or as JSON; both empty where they are not shown.
	From   string `json:"from,omitempty"`
	To     string `json:"to,omitempty"`
	Hidden bool   `json:"hidden,omitempty"`
	// Count is how many fields this stands for, if it is more than one.
	Count  int    `json:"count,omitempty"`
	Reason string `json:"reason"`
}

// Status is what the virtual object shows of the host's.
type Status struct {
	// Time is when it came back last; nil: longer ago than is remembered.
	Time       *metav1.Time `json:"time,omitempty"`
	Phase      string       `json:"phase,omitempty"`
	Message    string       `json:"message,omitempty"`
	Conditions []Condition  `json:"conditions,omitempty"`
}

// Condition of a status.
type Condition struct {
	Type    string       `json:"type"`
	Status  string       `json:"status"`
	Reason  string       `json:"reason,omitempty"`
	Message string       `json:"message,omitempty"`
	Since   *metav1.Time `json:"since,omitempty"`
}

// Pods of a workload, and those of them that are stuck.
type Pods struct {
	Total int   `json:"total"`
	Stuck []Pod `json:"stuck,omitempty"`
}

// Pod that is stuck.
type Pod struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	Stuck
}

// DeepCopy shares nothing that can change.
func (e *Explanation) DeepCopy() *Explanation {
	out := *e
	out.Stuck = append([]Stuck(nil), e.Stuck...)
	out.Changes = append([]FieldChange(nil), e.Changes...)
	if e.Host != nil {
		host := *e.Host
		host.Created = e.Host.Created.DeepCopy()
		if e.Host.Answer != nil {
			host.Answer = new(*e.Host.Answer)
		}
		out.Host = &host
	}
	if e.Status != nil {
		status := *e.Status
		status.Time = e.Status.Time.DeepCopy()
		status.Conditions = append([]Condition(nil), e.Status.Conditions...)
		out.Status = &status
	}
	if e.Pods != nil {
		out.Pods = &Pods{Total: e.Pods.Total, Stuck: append([]Pod(nil), e.Pods.Stuck...)}
	}
	return &out
}
