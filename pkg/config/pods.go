package config

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	"nestling.dev/nestling/pkg/podrules"
)

// Pods is what the operator says about each of the tenant's pods.
type Pods struct {
	// Deny refuses pods. It is asked of new pods and of every change of a pod, its images, its ephemeral containers and
	// its resources among them.
	Deny []podrules.Rule `json:"deny,omitempty"`
	// Force is what pods have on the host, whatever their authors want. The tenant does not see it.
	Force PodForce `json:"force,omitzero"`
}

// PodForce is said of the host's nodes and classes.
type PodForce struct {
	// NodeSelector are labels of the host's nodes; a pod's own selector gives way where it names the same ones.
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// Tolerations come beside a pod's own.
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// RuntimeClass and PriorityClass are the host's, and take the place of a pod's own.
	RuntimeClass  string `json:"runtimeClass,omitempty"`
	PriorityClass string `json:"priorityClass,omitempty"`
}

// podProblems are those of pods.
func (c *Config) podProblems() []Problem {
	_, wrong := podrules.Compile(c.Pods.Deny)
	var problems []Problem
	for _, rule := range wrong {
		problems = append(problems, under(fmt.Sprintf("pods.deny[%d]", rule.Index), Problem{rule.Field, rule.Detail}))
	}
	force := c.Pods.Force
	for _, key := range slices.Sorted(maps.Keys(force.NodeSelector)) {
		if len(validation.IsQualifiedName(key)) > 0 || len(validation.IsValidLabelValue(force.NodeSelector[key])) > 0 {
			problems = append(problems, Problem{"pods.force.nodeSelector", fmt.Sprintf("%q: %q is not a label", key, force.NodeSelector[key])})
		}
	}
	for i, toleration := range force.Tolerations {
		if detail := badToleration(toleration); detail != "" {
			problems = append(problems, Problem{fmt.Sprintf("pods.force.tolerations[%d]", i), detail})
		}
	}
	class := func(field, name string) {
		if name != "" && len(validation.IsDNS1123Subdomain(name)) > 0 {
			problems = append(problems, Problem{"pods.force." + field, fmt.Sprintf("%q is not the name of a class", name)})
		}
	}
	class("runtimeClass", force.RuntimeClass)
	class("priorityClass", force.PriorityClass)
	return problems
}

// badToleration says why the host would refuse every pod that has it.
func badToleration(t corev1.Toleration) string {
	switch {
	case t.Key != "" && len(validation.IsQualifiedName(t.Key)) > 0:
		return fmt.Sprintf("key: %q is not the key of a taint", t.Key)
	case t.Operator != "" && t.Operator != corev1.TolerationOpExists && t.Operator != corev1.TolerationOpEqual:
		return fmt.Sprintf("operator: %q is not one of Exists, Equal", t.Operator)
	case t.Key == "" && t.Operator != corev1.TolerationOpExists:
		return "operator: must be Exists when there is no key"
	case t.Operator == corev1.TolerationOpExists && t.Value != "":
		return "value: must be empty when the operator is Exists"
	case len(validation.IsValidLabelValue(t.Value)) > 0:
		return fmt.Sprintf("value: %q is not the value of a taint", t.Value)
	case t.Effect != "" && t.Effect != corev1.TaintEffectNoSchedule && t.Effect != corev1.TaintEffectPreferNoSchedule && t.Effect != corev1.TaintEffectNoExecute:
		return fmt.Sprintf("effect: %q is not one of NoSchedule, PreferNoSchedule, NoExecute", t.Effect)
	case t.TolerationSeconds != nil && t.Effect != corev1.TaintEffectNoExecute:
		return "effect: must be NoExecute when there are tolerationSeconds"
	}
	return ""
}

// PodRules are pods.deny, compiled; nil: there are none.
func (c *completed) PodRules() *podrules.Rules { return c.podRules }

// labelSet is the flag of labels.
type labelSet struct{ to *map[string]string }

func (l *labelSet) String() string {
	if l.to == nil {
		return ""
	}
	return labels.FormatLabels(*l.to)
}

func (l *labelSet) Set(in string) error {
	set, err := labels.ConvertSelectorToLabelsMap(in)
	if err == nil {
		*l.to = set
	}
	return err
}

func (*labelSet) Type() string { return "strings" }
