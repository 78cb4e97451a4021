package resources

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
)

// confined is selector among this tenant's host pods, and requirements of them. What it
// adds are expressions: unlike labels, which have one value, they can't be overwritten by
// what the selector asks for itself. A nil selector means what its field says, mostly
// nothing, and stays nil.
func confined(env resource.Env, selector *metav1.LabelSelector, requirements ...metav1.LabelSelectorRequirement) *metav1.LabelSelector {
	if selector == nil {
		return nil
	}
	out := selector.DeepCopy()
	out.MatchExpressions = append(out.MatchExpressions, metav1.LabelSelectorRequirement{
		Key: resource.LabelTenant, Operator: metav1.LabelSelectorOpIn, Values: []string{env.Tenant},
	})
	out.MatchExpressions = append(out.MatchExpressions, requirements...)
	return out
}

// inNamespaces requires of a host pod one of these virtual namespaces.
func inNamespaces(names ...string) metav1.LabelSelectorRequirement {
	var values []string
	for _, name := range names {
		values = append(values, naming.LabelValue(name))
	}
	slices.Sort(values)
	return metav1.LabelSelectorRequirement{
		Key: resource.LabelNamespace, Operator: metav1.LabelSelectorOpIn, Values: slices.Compact(values),
	}
}
