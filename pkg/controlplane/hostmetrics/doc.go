// Package hostmetrics knows what the tenant's pods and nodes use, from the host's metrics API.
//
// The host is asked for the pods of the tenant's namespace with the tenant's label, all at
// once, and at most every few seconds, however hard the tenant asks (reading.go). What it
// says is told in the tenant's terms (source.go): virtual pods with their own labels, only
// the containers that they have, only nodes that the tenant sees. Of what the host refuses
// only the kind of the trouble is told (refusal.go).
//
// Kubelets' own endpoints, /stats/summary and /metrics/resource, are not made of this. They
// tell how much processor time a container has used since its start, and the host's metrics
// API tells a rate only; a counter made of it would be invented. So a metrics-server of the
// tenant's own finds no kubelet to scrape, as this package already does its work. Any other
// provider of metrics.k8s.io can be registered, and wins (see package apigroup).
package hostmetrics
