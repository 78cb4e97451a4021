package resource

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Policy is what the operator lets a tenant have of the host's classes and identities.
// The zero value is the default.
type Policy struct {
	// PriorityClasses and RuntimeClasses are those of the host that the tenant sees and
	// its pods may name; nil: all.
	PriorityClasses, RuntimeClasses labels.Selector
	// SystemPriorityClasses lets the tenant's pods have system-node-critical and
	// system-cluster-critical on the host, where they displace anybody's pods.
	SystemPriorityClasses bool
	// RejectPriorityClasses rejects a pod whose priority class it may not have on the
	// host. Otherwise it runs there without one.
	RejectPriorityClasses bool
	// ServiceAccounts lets the tenant's pods run as host ServiceAccounts of their own,
	// which carry the annotations of the virtual ones.
	ServiceAccounts bool
	// Pods is what the operator says about each of the tenant's pods.
	Pods PodPolicy
}

// PodPolicy is what the operator refuses and forces. What is forced stands on the host pod
// only: the virtual one stays as its author wrote it.
type PodPolicy struct {
	// Refuse is why a pod may not run, in words for its author; nil: it may. It is pure.
	// A nil function refuses none.
	Refuse func(virtual *corev1.Pod) *Rejection
	// NodeSelector wins over the author's.
	NodeSelector map[string]string
	// Tolerations come beside the author's.
	Tolerations []corev1.Toleration
	// RuntimeClass and PriorityClass take the place of the author's; empty: the author's.
	RuntimeClass, PriorityClass string
}

// Offers reports whether a selector of Policy lets the tenant have a host object.
func Offers(selector labels.Selector, host Object) bool {
	return selector == nil || selector.Matches(labels.Set(host.GetLabels()))
}
