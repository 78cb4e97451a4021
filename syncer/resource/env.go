package resource

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// Object is any Kubernetes API object.
type Object interface {
	metav1.Object
	runtime.Object
}

// Key names an object within its kind; Namespace is empty for cluster-scoped kinds.
type Key struct {
	Namespace, Name string
}

// KeyOf is the key of an object.
func KeyOf(object metav1.Object) Key {
	return Key{Namespace: object.GetNamespace(), Name: object.GetName()}
}

// Ref names a virtual object that another refers to; without a name, all of its kind.
type Ref struct {
	Resource string // plural, as in URLs: "configmaps"
	Key
}

// Env is all that a translation may know beside the object: facts of the tenant,
// and read-only views of both caches.
type Env struct {
	Tenant        string
	HostNamespace string
	Identity      string                // UID of the virtual kube-system namespace
	Owner         metav1.OwnerReference // the tenant's anchor

	ClusterDomain          string // "cluster.local"
	DNSIP                  string // ClusterIP of the tenant's DNS; empty: the tenant has none yet
	APIServerIP            string // ClusterIP of default/kubernetes
	APIServerPort          int32
	WorkloadServiceAccount string // host ServiceAccount without rights that tenant pods run as
	ControlPlane           ControlPlane

	// Policy is what the operator lets the tenant have.
	Policy Policy

	View View
	Now  time.Time
}

// ControlPlane are the ports at which the tenant's own pod on the host serves the tenant's
// pods; 0: not known.
type ControlPlane struct {
	APIPort int32 // TCP
	DNSPort int32 // UDP and TCP
}

// View reads both caches. What it returns must not be changed. Resources are named
// by their plural; one that has no informer is empty.
type View interface {
	// Virtual is a virtual object, nil if there is none.
	Virtual(resource string, key Key) Object
	// VirtualList is every virtual object of a namespace ("" for all).
	VirtualList(resource, namespace string) []Object
	// Host is an object of ours in the host namespace by its host name, nil if there is none.
	// For cluster-scoped resources it is the host's.
	Host(resource, name string) Object
	// HostList is every object of ours in the host namespace; for cluster-scoped resources
	// all of the host's.
	HostList(resource string) []Object
	// Named is the host object of ours, of any kind, that has this name, or had it until a
	// short while ago; nil: there is none.
	Named(hostName string) Object
	// Departed is an object of ours that has left the host a short while ago, and its
	// virtual object as it was then: what is told of them may come late. Nil: unknown.
	Departed(resource, name string) (virtual, host Object)
	// Referenced reports whether any virtual object refers to key, by its kind's Refs.
	Referenced(resource string, key Key) bool
	// Created reports whether this process made the host object of the virtual object
	// with this UID: so that one that is missing now was lost, not never made.
	Created(uid types.UID) bool
}
