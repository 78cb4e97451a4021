// Package preflight lets the host refuse an object before the tenant's API takes it.
//
// A pod that the host's quota, LimitRange, Pod Security, policies or webhooks would refuse
// must not stay Pending without a word. So the validating admission plugin
// NestlingPreflight, last but for the tenant's own quota, asks the host by a server-side
// dry run of the very write that the syncer would do. A refusal is the answer to the
// tenant's request, with the host's code and message, and without its names:
//
//	create Pod ─► admission ─► translate ─► dry run on the host ─► refused: 403, 422
//	                                                            └► else:    write
//
// It is a courtesy and no barrier: the host decides when the syncer writes. So whatever
// is not a clear refusal lets the object pass: a host that does not answer in time (a
// breaker spares the requests after a few of those), a translation that is not possible yet, a name
// that is taken, a webhook that knows no dry run. What the host refuses later is told by
// the event HostRejected.
//
// What the host's admission fills in (a LimitRange's defaults) is not copied: the spec is
// the tenant's. What a container really has is in its status, as kubelet reports it.
package preflight
