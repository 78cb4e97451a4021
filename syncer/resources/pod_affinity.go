package resources

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"nestling.dev/nestling/syncer/naming"
)

// affinity confines every selector of pods to the tenant's own, in the virtual
// namespaces that it means. On the host they all stand in one namespace, so the terms'
// namespaces become requirements of their selectors. A nil selector matches nothing on
// either side and stays nil.
//
// matchLabelKeys and mismatchLabelKeys go: the tenant's API server has merged them into
// the selectors when the pod was created, and the host's would reject or merge again.
func (t *podTranslation) affinity() error {
	spec := &t.host.Spec
	for i := range spec.TopologySpreadConstraints {
		constraint := &spec.TopologySpreadConstraints[i]
		constraint.MatchLabelKeys = nil
		constraint.LabelSelector = confined(t.env, constraint.LabelSelector, inNamespaces(t.virtual.Namespace))
	}
	if spec.Affinity == nil {
		return nil
	}
	if affinity := spec.Affinity.PodAffinity; affinity != nil {
		for i, term := range affinity.RequiredDuringSchedulingIgnoredDuringExecution {
			affinity.RequiredDuringSchedulingIgnoredDuringExecution[i] = t.oneTerm(term)
		}
		affinity.PreferredDuringSchedulingIgnoredDuringExecution = t.weighted(affinity.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if affinity := spec.Affinity.PodAntiAffinity; affinity != nil {
		var required []corev1.PodAffinityTerm
		for _, term := range affinity.RequiredDuringSchedulingIgnoredDuringExecution {
			required = append(required, t.terms(term)...)
		}
		affinity.RequiredDuringSchedulingIgnoredDuringExecution = required
		affinity.PreferredDuringSchedulingIgnoredDuringExecution = t.weighted(affinity.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	return nil
}

func (t *podTranslation) weighted(terms []corev1.WeightedPodAffinityTerm) []corev1.WeightedPodAffinityTerm {
	var out []corev1.WeightedPodAffinityTerm
	for _, weighted := range terms {
		for _, term := range t.terms(weighted.PodAffinityTerm) {
			out = append(out, corev1.WeightedPodAffinityTerm{Weight: weighted.Weight, PodAffinityTerm: term})
		}
	}
	return out
}

// terms is the host terms of a virtual one, where terms add up. A term's namespaces are
// those that it lists and those that it selects. A selector can't say "or", so a term
// with both becomes two without a pod in common.
func (t *podTranslation) terms(term corev1.PodAffinityTerm) []corev1.PodAffinityTerm {
	if len(term.Namespaces) == 0 || term.NamespaceSelector == nil || term.LabelSelector == nil {
		return []corev1.PodAffinityTerm{t.oneTerm(term)}
	}
	listed, selected := *term.DeepCopy(), *term.DeepCopy()
	listed.NamespaceSelector = nil
	selected.Namespaces = nil
	out := []corev1.PodAffinityTerm{t.oneTerm(listed), t.oneTerm(selected)}
	rest := inNamespaces(term.Namespaces...)
	rest.Operator = metav1.LabelSelectorOpNotIn
	out[1].LabelSelector.MatchExpressions = append(out[1].LabelSelector.MatchExpressions, rest)
	return out
}

// oneTerm is the one host term of a virtual one, where every term must hold. A term
// that both lists and selects namespaces gets those that are selected now; namespaces
// that match later are left out.
func (t *podTranslation) oneTerm(term corev1.PodAffinityTerm) corev1.PodAffinityTerm {
	out := *term.DeepCopy()
	out.Namespaces, out.NamespaceSelector = nil, nil
	out.MatchLabelKeys, out.MismatchLabelKeys = nil, nil
	var requirements []metav1.LabelSelectorRequirement
	switch {
	case term.NamespaceSelector == nil && len(term.Namespaces) == 0:
		requirements = append(requirements, inNamespaces(t.virtual.Namespace))
	case term.NamespaceSelector == nil:
		requirements = append(requirements, inNamespaces(term.Namespaces...))
	case len(term.Namespaces) == 0:
		requirements = namespaceRequirements(term.NamespaceSelector)
	case len(term.NamespaceSelector.MatchLabels)+len(term.NamespaceSelector.MatchExpressions) == 0:
		// All namespaces, the listed ones among them.
	default:
		requirements = append(requirements, inNamespaces(append(t.selected(term.NamespaceSelector), term.Namespaces...)...))
	}
	out.LabelSelector = confined(t.env, term.LabelSelector, requirements...)
	return out
}

// namespaceRequirements asks of pods what selector asks of their namespaces.
func namespaceRequirements(selector *metav1.LabelSelector) []metav1.LabelSelectorRequirement {
	var out []metav1.LabelSelectorRequirement
	for key, value := range selector.MatchLabels {
		out = append(out, metav1.LabelSelectorRequirement{
			Key: naming.NamespaceLabel(key), Operator: metav1.LabelSelectorOpIn, Values: []string{value},
		})
	}
	slices.SortFunc(out, func(a, b metav1.LabelSelectorRequirement) int { return strings.Compare(a.Key, b.Key) })
	for _, requirement := range selector.MatchExpressions {
		requirement = *requirement.DeepCopy()
		requirement.Key = naming.NamespaceLabel(requirement.Key)
		out = append(out, requirement)
	}
	return out
}

// selected is the names of the virtual namespaces that selector matches now.
func (t *podTranslation) selected(namespaces *metav1.LabelSelector) []string {
	selector, err := metav1.LabelSelectorAsSelector(namespaces)
	if err != nil {
		return nil // the tenant's API server has checked it
	}
	var out []string
	for _, namespace := range t.env.View.VirtualList("namespaces", "") {
		if selector.Matches(labels.Set(namespace.GetLabels())) {
			out = append(out, namespace.GetName())
		}
	}
	return out
}
