// Package kubeletapi is the kubelet that the tenant's API server believes in.
//
// The API server is stock: for logs, exec, attach and port-forward it looks up the
// pod's node and dials that node's kubelet. Its dialer is Server.Dial, which ends in
// this process whatever the address, in a server that speaks the kubelet API and
// forwards to the pod subresources of the host API. Authorization, audit and
// admission of the tenant's API server hold, because none of its routes is touched:
//
//	kubectl exec ──► tenant's kube-apiserver ──► Server ──► host API pods/HOST/exec ──► kubelet
//	                   authorizes, audits        maps names     authorizes this cluster
//
// The way of a request:
//
//  1. conn.go: a socket pair instead of a network; TLS runs inside it.
//  2. handler.go: only the API server's client certificate may ask.
//  3. route.go: an exact list of paths; everything else is 404.
//  4. params.go: kubelet's query parameters become the options of the host's API.
//     Nothing of the query is passed through as it came.
//  5. logs.go, stream.go: the host is asked with this cluster's credentials; of the
//     request's headers only those of the upgrade are passed on, so that no tenant
//     can impersonate on the host.
//  6. refusal.go: what the host refuses is told in the tenant's names.
package kubeletapi
