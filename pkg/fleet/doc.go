// Package fleet is the tenants of a host as an operator handles them: made, looked at, paused and removed with nothing
// but a kubeconfig of the host.
//
// Everything of a tenant is owned by its anchor, a ConfigMap that is made first. So whoever deletes the anchor, a person
// or the tenant itself when its time is over, deletes the tenant. The two objects that are in no namespace cannot be owned
// by it: the ClusterRole is owned by its binding, and the binding is deleted by name.
//
// An object that lacks the tenant's label is somebody else's, whatever its name, and is never touched.
package fleet
