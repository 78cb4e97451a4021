// Package namespaces empties namespaces that are being deleted: upstream's deleter does it,
// this package says when.
//
// Upstream's own controller makes a pass over the content of a namespace, every resource
// of the API, five seconds after its deletion. If pods are left then, it makes the next
// pass after a guess from their grace, 16 s for the default of 30 s, whatever the pods
// take; and where the grace is over, pass after pass. A tenant's pods end on the host
// first, so that almost always some are left. Here pods are told to end at once, and one
// cheap question, whether any is left, is asked again and again: the next pass comes when
// the answer is no.
package namespaces
