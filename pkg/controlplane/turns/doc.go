// Package turns lets an API server write one object of a resource at a time.
//
// Upstream's storage writes without locks: it computes the new object from what it believes
// there is, and when something else turns out to be there, it computes once more. Admission
// runs in that computation, and so does the allocation of node ports and IPs of Services
// (k8s.io/kubernetes pkg/registry/core/service/storage), which is final before the write.
// Computed again, a request for a given port finds that port taken, by itself, is refused, and
// the port is lost until the repair minutes later. In a tenant every port is given, since the
// host chooses them, and the syncer writes each Service's status: so this happens.
//
// A tenant has one API server, so that turns within the process are enough. An update takes
// the turn of its key, and computes only from what etcd has, not from a cache that may be late.
package turns
