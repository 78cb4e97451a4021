package kubeletapi

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// Resolver finds the host pod of a virtual pod. An error that apierrors.IsNotFound
// knows means that there is none; any other is told to the user as an internal one.
type Resolver interface {
	HostPod(namespace, name string) (Target, error)
}

// ResolverFunc is a function as a Resolver.
type ResolverFunc func(namespace, name string) (Target, error)

// HostPod calls the function.
func (f ResolverFunc) HostPod(namespace, name string) (Target, error) { return f(namespace, name) }

// Target is a virtual pod as it is on the host.
type Target struct {
	Namespace, Name string    // of the host pod
	UID             types.UID // of the virtual pod: a request that names another one is too late
	// Containers that the virtual pod has, init and ephemeral ones included. Others
	// in the host pod were put there by the host and are invisible.
	Containers []string
}

func (t Target) has(container string) bool { return slices.Contains(t.Containers, container) }
