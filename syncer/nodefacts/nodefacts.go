// Package nodefacts tells what of a mirrored node is the host's, and what the tenant has
// said of it: labels, taints and a cordon of its own.
//
// The mirror carries a list of the host's (resource.AnnotationCopied). What is not on it is
// the tenant's, also when the host takes something away a moment later.
package nodefacts

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"nestling.dev/nestling/syncer/resource"
)

const (
	labelMark = "l:"
	taintMark = "t:"
)

// OfHost is the list of what a mirror has of its host node.
func OfHost(labels map[string]string, taints []corev1.Taint) string {
	var marks []string
	for key := range labels {
		marks = append(marks, labelMark+key)
	}
	for _, taint := range taints {
		marks = append(marks, mark(taint))
	}
	slices.Sort(marks)
	return strings.Join(slices.Compact(marks), ",")
}

// mark is what tells taints of a node apart (validation of Node: key and effect).
func mark(taint corev1.Taint) string { return taintMark + taint.Key + ":" + string(taint.Effect) }

// conditionPrefix begins the keys of taints that stand for conditions of a node, which the
// host judges; of these, only the cordon's can be the tenant's.
const conditionPrefix = "node.kubernetes.io/"

// ofConditions reports whether a taint is never the tenant's to set.
func ofConditions(taint corev1.Taint) bool {
	return strings.HasPrefix(taint.Key, conditionPrefix) || strings.HasPrefix(taint.Key, "node.cloudprovider.kubernetes.io/")
}

// Own is what the tenant has said of a mirrored node. Of a mirror that an older version made
// that is known of the cordon alone.
func Own(node *corev1.Node) (labels map[string]string, taints []corev1.Taint) {
	if node.Annotations[resource.AnnotationMirror] == "" {
		return nil, nil // one that the tenant made up: no pod runs there
	}
	copied, listed := node.Annotations[resource.AnnotationCopied]
	host := map[string]bool{}
	for one := range strings.SplitSeq(copied, ",") {
		host[one] = true
	}
	if listed {
		labels = maps.Clone(node.Labels)
		maps.DeleteFunc(labels, func(key, _ string) bool { return host[labelMark+key] })
		for _, taint := range node.Spec.Taints {
			if !ofConditions(taint) && !host[mark(taint)] {
				taints = append(taints, taint)
			}
		}
	}
	cordon := corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}
	if node.Spec.Unschedulable && !host[mark(cordon)] {
		if i := slices.IndexFunc(node.Spec.Taints, func(taint corev1.Taint) bool { return mark(taint) == mark(cordon) }); i >= 0 {
			cordon = node.Spec.Taints[i]
		}
		taints = append(taints, cordon)
	}
	return labels, taints
}

// MayOwn is false where a mirror has as much as its host node, which is nearly always and
// cheap to see: every new pod asks about every node.
func MayOwn(node *corev1.Node) bool {
	marks := 0
	if copied := node.Annotations[resource.AnnotationCopied]; copied != "" {
		marks = strings.Count(copied, ",") + 1
	}
	return node.Spec.Unschedulable || marks != len(node.Labels)+len(node.Spec.Taints)
}

// Both are the host's taints, and of the tenant's those that the host has not.
func Both(host, own []corev1.Taint) []corev1.Taint {
	out := slices.Clone(host)
	for _, taint := range own {
		if !slices.ContainsFunc(host, func(other corev1.Taint) bool { return mark(other) == mark(taint) }) {
			out = append(out, taint)
		}
	}
	return out
}
