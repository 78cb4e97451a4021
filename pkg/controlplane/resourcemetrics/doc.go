// Package resourcemetrics is the API group metrics.k8s.io/v1beta1, which `kubectl top` and
// the HorizontalPodAutoscaler read, over a Source that knows what pods and nodes use.
//
// It does what upstream's metrics-server does in front of its scraper: selectors, tables,
// and the role that lets viewers of a cluster see usage.
package resourcemetrics
