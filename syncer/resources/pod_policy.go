package resources

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"

	"nestling.dev/nestling/syncer/resource"
)

// refusal applies the operator's rules. The tenant's API does so before, for the sake of a
// prompt answer; nothing gets to the host past this one: neither a pod that was there
// before a rule was, nor what came of a binding.
func (t *podTranslation) refusal() error {
	if t.env.Policy.Pods.Refuse == nil {
		return nil
	}
	if rejection := t.env.Policy.Pods.Refuse(t.virtual); rejection != nil {
		return rejection
	}
	return nil
}

// forced is what the operator says about every pod, whatever its author wants.
func (t *podTranslation) forced() error {
	policy, spec := t.env.Policy.Pods, &t.host.Spec
	if class := policy.RuntimeClass; class != "" {
		spec.RuntimeClassName = &class
	}
	if policy.PriorityClass != "" {
		spec.PriorityClassName = policy.PriorityClass
	}
	for _, toleration := range policy.Tolerations {
		same := func(other corev1.Toleration) bool { return equality.Semantic.DeepEqual(toleration, other) }
		if !slices.ContainsFunc(spec.Tolerations, same) {
			spec.Tolerations = append(spec.Tolerations, toleration)
		}
	}
	spec.NodeSelector = merged(spec.NodeSelector, policy.NodeSelector)
	return t.chosenNode()
}

// chosenNode refuses a node that the author chose, and that the operator's selector does
// not: no scheduler looks at such a pod. A node that the host does not let us read is left
// to its kubelet, which asks the same.
func (t *podTranslation) chosenNode() error {
	policy := t.env.Policy.Pods
	if len(policy.NodeSelector) == 0 || t.virtual.Spec.NodeName == "" || t.env.View.Host("pods", t.host.Name) != nil {
		return nil
	}
	node := t.env.View.Host("nodes", t.virtual.Spec.NodeName)
	if node == nil || labels.SelectorFromSet(policy.NodeSelector).Matches(labels.Set(node.GetLabels())) {
		return nil
	}
	return resource.Rejectf("NodeNotOffered", "node %q is not one on which this cluster's operator lets its pods run; leave spec.nodeName empty", t.virtual.Spec.NodeName)
}
