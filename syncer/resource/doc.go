// Package resource is the vocabulary in which a synced kind is described: what an
// object of it becomes on the host, what comes back, and which labels, annotations
// and names both sides carry. It decides nothing and talks to no server.
//
// A kind is one value of Spec, in one file of syncer/resources. Package plan turns
// a Spec and the two observed objects into a Plan; package engine carries it out.
package resource
