package resources

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	scheduling "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"

	"nestling.dev/nestling/syncer/nodefacts"
	"nestling.dev/nestling/syncer/resource"
)

// ownNode is a mirrored node with what the tenant has said of it.
type ownNode struct {
	*corev1.Node
	labels map[string]string
	taints []corev1.Taint
}

// ownNodes are the mirrored nodes of the virtual cluster, by name; none where the tenant has
// said nothing of any, which is nearly always and asked for every new pod.
func ownNodes(env resource.Env) []ownNode {
	var out []ownNode
	said := false
	for _, object := range env.View.VirtualList("nodes", "") {
		node, ok := object.(*corev1.Node)
		if !ok || node.Annotations[resource.AnnotationMirror] == "" {
			continue
		}
		one := ownNode{Node: node}
		if nodefacts.MayOwn(node) {
			one.labels, one.taints = nodefacts.Own(node)
		}
		said = said || len(one.labels) > 0 || len(one.taints) > 0
		out = append(out, one)
	}
	if !said {
		return nil
	}
	slices.SortFunc(out, func(a, b ownNode) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// placement is what the tenant's own labels and taints of nodes mean for a new pod of its.
// The host's scheduler sees none of them, so the host pod names nodes instead. While it has
// none and they change, it is replaced (replacePod): the API lets nobody change where a pod
// may run.
type placement struct {
	// chosen says that labels of the tenant's decide: among is every node that fits.
	chosen bool
	among  []string
	// without are the nodes that taints of the tenant's keep the pod from.
	without []string
	// preferred are the preferences, where labels of the tenant's matter to one.
	preferred []corev1.PreferredSchedulingTerm
}

// placementOf a pod that the host's scheduler has yet to place.
func placementOf(env resource.Env, virtual *corev1.Pod) placement {
	var out placement
	nodes := ownNodes(env)
	if len(nodes) == 0 {
		return out
	}
	owned := map[string]bool{}
	for _, node := range nodes {
		for key := range node.labels {
			owned[key] = true
		}
		if refuses(node.taints, virtual.Spec.Tolerations) {
			out.without = append(out.without, node.Name)
		}
	}
	affinity := nodeAffinity(&virtual.Spec)
	keys := slices.Collect(maps.Keys(virtual.Spec.NodeSelector))
	if affinity != nil && affinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		for _, term := range affinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
			keys = append(keys, termKeys(term)...)
		}
	}
	isOwned := func(key string) bool { return owned[key] }
	if out.chosen = slices.ContainsFunc(keys, isOwned); out.chosen {
		required := nodeaffinity.GetRequiredNodeAffinity(virtual)
		for _, node := range nodes {
			fits, err := required.Match(node.Node) // an error is a term that matches nothing
			if err == nil && fits && !slices.Contains(out.without, node.Name) {
				out.among = append(out.among, node.Name)
			}
		}
	}
	if affinity == nil {
		return out
	}
	preferred := affinity.PreferredDuringSchedulingIgnoredDuringExecution
	if !slices.ContainsFunc(preferred, func(term corev1.PreferredSchedulingTerm) bool {
		return slices.ContainsFunc(termKeys(term.Preference), isOwned)
	}) {
		return out
	}
	for _, term := range preferred {
		if !slices.ContainsFunc(termKeys(term.Preference), isOwned) {
			out.preferred = append(out.preferred, term)
			continue
		}
		for _, node := range nodes {
			fits, err := scheduling.MatchNodeSelectorTerms(node.Node, &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{term.Preference}})
			if err == nil && fits {
				out.preferred = append(out.preferred, corev1.PreferredSchedulingTerm{Weight: term.Weight, Preference: onNode(corev1.NodeSelectorOpIn, node.Name)})
			}
		}
	}
	return out
}

func termKeys(term corev1.NodeSelectorTerm) []string {
	var out []string
	for _, requirement := range term.MatchExpressions {
		out = append(out, requirement.Key)
	}
	return out
}

// refuses reports whether a taint keeps pods with these tolerations away.
func refuses(taints []corev1.Taint, tolerations []corev1.Toleration) bool {
	return slices.ContainsFunc(taints, func(taint corev1.Taint) bool {
		return taint.Effect != corev1.TaintEffectPreferNoSchedule && !tolerated(tolerations, taint)
	})
}

func tolerated(tolerations []corev1.Toleration, taint corev1.Taint) bool {
	return scheduling.TolerationsTolerateTaint(klog.Logger{}, tolerations, &taint, true)
}

// onNode is a term about a node's name. The API takes one name for each requirement.
func onNode(operator corev1.NodeSelectorOperator, names ...string) corev1.NodeSelectorTerm {
	var term corev1.NodeSelectorTerm
	for _, name := range names {
		term.MatchFields = append(term.MatchFields, corev1.NodeSelectorRequirement{Key: metav1.ObjectNameField, Operator: operator, Values: []string{name}})
	}
	return term
}

// noNode is where a pod goes that no node fits: the host's scheduler says what it says then.
const noNode = "none.nestling.dev"

// unplaced reports whether the host's scheduler has a word on where the pod runs.
func unplaced(virtual *corev1.Pod) bool { return virtual.Spec.NodeName == "" }

// place keeps what the tenant has said of its nodes. Of a pod that is gated nothing is
// decided yet.
func (t *podTranslation) place() error {
	if !unplaced(t.virtual) {
		// What was decided stays on record.
		if live := t.env.View.Host("pods", t.host.Name); live != nil {
			if record, ok := live.GetAnnotations()[podNodes]; ok {
				t.host.Annotations[podNodes] = record
			}
		}
		return nil
	}
	if len(t.virtual.Spec.SchedulingGates) > 0 {
		return nil
	}
	placement := placementOf(t.env, t.virtual)
	if !placement.chosen && len(placement.without) == 0 && placement.preferred == nil {
		return nil
	}
	t.host.Annotations[podNodes] = contentHash([]any{placement.chosen, placement.among, placement.without, placement.preferred})
	spec := &t.host.Spec
	if spec.Affinity == nil {
		spec.Affinity = &corev1.Affinity{}
	}
	if spec.Affinity.NodeAffinity == nil {
		spec.Affinity.NodeAffinity = &corev1.NodeAffinity{}
	}
	affinity := spec.Affinity.NodeAffinity
	if placement.preferred != nil {
		affinity.PreferredDuringSchedulingIgnoredDuringExecution = placement.preferred
	}
	switch {
	case placement.chosen:
		spec.NodeSelector = nil
		affinity.RequiredDuringSchedulingIgnoredDuringExecution = &corev1.NodeSelector{}
		required := affinity.RequiredDuringSchedulingIgnoredDuringExecution
		if len(placement.among) == 0 {
			placement.among = []string{noNode}
		}
		for _, name := range placement.among {
			required.NodeSelectorTerms = append(required.NodeSelectorTerms, onNode(corev1.NodeSelectorOpIn, name))
		}
	case len(placement.without) > 0:
		not := onNode(corev1.NodeSelectorOpNotIn, placement.without...)
		if affinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
			affinity.RequiredDuringSchedulingIgnoredDuringExecution = &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{not}}
			break
		}
		terms := affinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
		for i := range terms {
			if len(terms[i].MatchExpressions)+len(terms[i].MatchFields) > 0 { // an empty term matches no node
				terms[i].MatchFields = append(terms[i].MatchFields, not.MatchFields...)
			}
		}
	}
	return nil
}

// replacePod reports whether a host pod must be made anew because the tenant has changed
// what it says of its nodes: one that nobody has placed yet, and that goes at once. One with
// finalizers of somebody's would stay, and be mistaken for a pod that ends.
func replacePod(desired, live *corev1.Pod) bool {
	return live.Spec.NodeName == "" && live.DeletionTimestamp == nil && len(live.Finalizers) == 0 &&
		desired.Annotations[podNodes] != live.Annotations[podNodes]
}

// replacingPod reports whether a pod's host pod has been taken away to be made anew.
func replacingPod(virtual *corev1.Pod) bool {
	condition := podCondition(&virtual.Status, PodHostSynced)
	return condition != nil && condition.Status == corev1.ConditionFalse && condition.Reason == resource.ReasonReplacing
}
