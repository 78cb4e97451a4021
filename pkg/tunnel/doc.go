// Package tunnel reaches the API server of a tenant through the API server of its host: a listener on 127.0.0.1 whose
// connections are forwarded to the control plane's pod. Bytes pass untouched, so that TLS and client certificates hold
// from end to end, and the tunnel has nothing to trust or to know.
//
// Each connection has a session of its own with the host. A session that is shared would be cheaper by a handshake of
// some milliseconds, and that is all: its streams have no flow control, so that a client who does not read, as a watch
// may, holds up all others; and one refused connection ends it for all. With a session each there is nothing to
// restore either: what breaks is broken for its client only, and whoever comes next gets the pod that is there then.
//
// A connection waits for the pod as long as no byte came back from it: what the client has said until then, which is
// the beginning of a TLS handshake, is said again to the next session. So a client who connects while the pod restarts
// waits, within Options.Patience, and does not fail.
package tunnel
