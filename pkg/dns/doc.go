// Package dns is the tenant's DNS: CoreDNS as a library, in the tenant's process.
//
// A query goes through a chain of handlers; the cluster's own part comes first, and what
// it leaves over is asked of others:
//
//	measured → polished → nameserver → kubernetes → hostless → cache → forward
//
// kubernetes is CoreDNS's plugin with its default semantics (Kubernetes DNS specification
// 1.1), over caches of the tenant's API that hold no more than it needs. It is authoritative
// for the cluster domain and answers reverse names that it knows. Nothing of the cluster is
// in the cache, so that a name resolves as soon as the API says so.
//
// CoreDNS is put together from its parts here and not by Caddy, whose start traps signals,
// writes to standard output, and keeps its servers in globals; and not by the plugin's own
// setup, which would take klog over for the whole process.
package dns
