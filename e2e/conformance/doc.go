// Package conformance runs upstream's end-to-end suite (k8s.io/kubernetes/test/e2e) against a
// tenant with the default configuration and against the host beneath it, on a real host of
// two nodes, and writes down what passed.
//
// A Part is a selection of specs and how it is run; parts.go has them all. Results are kept
// after every spec, so that a run that was cut goes on where it was. Reports say of each spec
// that did not pass why: exceptions.yaml has the reasons, and a failure without one is an
// error.
//
// The specs' images cannot be pulled: images.go makes stand-ins of the same names.
package conformance
