// Package loopback finds ports of 127.0.0.1 that stay free until they are listened on.
//
// The usual way, to listen on port 0 and to close, gives a port from the range that the
// kernel takes the ports of outgoing connections from as well: on a busy machine one of
// those has it a moment later, and whoever was told to listen on it ends.
package loopback
