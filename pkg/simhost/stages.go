package simhost

import (
	"encoding/json"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/lru"
	"sigs.k8s.io/kwok/pkg/apis/internalversion"
	"sigs.k8s.io/kwok/pkg/utils/gotpl"
)

// Annotations by which a pod asks for a part in the play.
const (
	// RunsForAnnotation makes the pod finish by itself after that time ("0s",
	// "2m"). Pods of a Job finish at once without it.
	RunsForAnnotation = "simulated-node/runs-for"

	// ExitCodeAnnotation is what the containers of such a pod exit with.
	// Default 0; everything else makes the pod Failed.
	ExitCodeAnnotation = "simulated-node/exit-code"

	// StopsAfterAnnotation is how long the containers take to end when the pod
	// is deleted. Default: no time.
	StopsAfterAnnotation = "simulated-node/stops-after"
)

var (
	podResource  = internalversion.StageResourceRef{APIGroup: "v1", Kind: "Pod"}
	nodeResource = internalversion.StageResourceRef{APIGroup: "v1", Kind: "Node"}
)

// Conditions in jq. KWOK plays a random one of the stages that match, so no two
// stages of a kind may match the same object.
const (
	deleted    = `(.metadata.deletionTimestamp != null)`
	letGo      = `(` + deleted + ` and .metadata.deletionGracePeriodSeconds != 0)` // with 0, the kubelet has done its part
	terminal   = `(.status.phase == "Succeeded" or .status.phase == "Failed")`
	finalizers = `(((.metadata.finalizers // []) | length) > 0)`

	// finishes: a Job's pod, known by its label, since a synced pod has another
	// owner; or a pod that asks for it.
	finishes = `(.metadata.labels["batch.kubernetes.io/job-name"] != null or .metadata.annotations["` + RunsForAnnotation + `"] != null)`

	// stale: the spec has changed, or the readiness gates.
	stale = `(.metadata.generation != .status.observedGeneration or ` + gatesChanged + `)`

	gatesChanged = `((.spec.readinessGates // []) as $gates | (.status.conditions // []) as $conditions |
		($gates | all(.conditionType as $type | any($conditions[]; .type == $type and .status == "True"))) !=
		any($conditions[]; .type == "Ready" and .status == "True"))`

	healthy = `any((.status.conditions // [])[]; .type == "Ready" and .status == "True")`
)

// nodeStatusInterval is how often a node posts its status although nothing has
// changed: a kubelet's nodeStatusReportFrequency. Leases are the heartbeat.
const nodeStatusInterval = 5 * time.Minute

// stages are the lives of pods and nodes.
func stages() map[internalversion.StageResourceRef][]*internalversion.Stage {
	const start = `{{ with AddressesOf .metadata.uid }}{{ Running $ . }}{{ else }}{{ Running . (Addresses .metadata.uid (NodeIPsWith .spec.nodeName)
		(PodIPsWith .spec.nodeName (or .spec.hostNetwork false) .metadata.uid .metadata.name .metadata.namespace)) }}{{ end }}`
	return map[internalversion.StageResourceRef][]*internalversion.Stage{
		podResource: {
			stage{name: "start", when: `.status.phase == "Pending" and (` + deleted + ` | not)`,
				event: "Simulated containers started", status: start}.of(podResource),
			stage{name: "finish", when: `.status.phase == "Running" and ` + finishes + ` and (` + deleted + ` | not)`,
				delayFrom: RunsForAnnotation, status: `{{ Finished . }}`}.of(podResource),
			stage{name: "follow", when: `.status.phase == "Running" and (` + finishes + ` | not) and (` + deleted + ` | not) and ` + stale,
				status: `{{ Running . }}`}.of(podResource),
			// A kubelet tells how the containers ended before it lets the pod go.
			// Only where there is a finalizer can anybody see that: in a Job's pods.
			stage{name: "stop", when: deleted + ` and (` + terminal + ` | not) and ` + finalizers,
				delayFrom: StopsAfterAnnotation, status: `{{ Stopped . }}`}.of(podResource),
			stage{name: "remove", when: letGo + ` and (` + terminal + ` | not) and (` + finalizers + ` | not)`,
				delayFrom: StopsAfterAnnotation, remove: true}.of(podResource),
			stage{name: "remove-ended", when: letGo + ` and ` + terminal, remove: true}.of(podResource),
		},
		nodeResource: {
			stage{name: "recover", when: healthy + ` | not`, status: `{{ NodeHealthy . }}`}.of(nodeResource),
			stage{name: "report", when: healthy, delay: nodeStatusInterval, status: `{{ NodeHealthy . }}`}.of(nodeResource),
		},
	}
}

// stage is KWOK's Stage, in the words that are needed here.
type stage struct {
	name      string
	when      string        // jq, true or false
	delay     time.Duration // before it is played
	delayFrom string        // annotation that says another delay
	event     string        // message of an event Started
	status    string        // template of the patch of the status
	remove    bool          // delete the object
}

func (s stage) of(resource internalversion.StageResourceRef) *internalversion.Stage {
	out := &internalversion.Stage{
		ObjectMeta: metav1.ObjectMeta{Name: s.name},
		Spec: internalversion.StageSpec{
			ResourceRef: resource,
			Selector: &internalversion.StageSelector{MatchExpressions: []internalversion.MatchExpression{{
				JQ: &internalversion.SelectorJQ{Key: s.when, Operator: internalversion.SelectorOpIn, Values: []string{"true"}},
			}}},
		},
	}
	if s.delay > 0 || s.delayFrom != "" {
		out.Spec.Delay = &internalversion.StageDelay{DurationMilliseconds: new(s.delay.Milliseconds())}
	}
	if s.delayFrom != "" {
		out.Spec.Delay.DurationFrom = &internalversion.ExpressionFrom{
			JQ: &internalversion.ExpressionJQ{Expression: `.metadata.annotations["` + s.delayFrom + `"]`},
		}
	}
	step := internalversion.StageStep{Delete: s.remove}
	if s.event != "" {
		step.Event = &internalversion.StageEvent{Type: corev1.EventTypeNormal, Reason: "Started", Message: s.event}
	}
	if s.status != "" {
		step.Patch = &internalversion.StagePatch{Subresource: "status", Template: s.status}
	}
	out.Spec.Steps = []internalversion.StageStep{step}
	return out
}

// addresses of a pod on its node.
type addresses struct{ host, pod []string }

// maxRemembered bounds the addresses that are remembered: those of pods whose
// start is on its way.
const maxRemembered = 4096

// stageFunctions are what the templates of the stages call. Those that take the
// object return a patch.
func stageFunctions() gotpl.FuncMap {
	// KWOK plays a stage again if the pod changes before it has seen the result.
	// The second time must give the same IPs, and none may be taken for nothing.
	remembered := lru.New(maxRemembered)
	return gotpl.FuncMap{
		"AddressesOf": func(uid string) *addresses {
			if found, ok := remembered.Get(uid); ok {
				return found.(*addresses)
			}
			return nil
		},
		"Addresses": func(uid string, hostIPs, podIPs []string) *addresses {
			given := &addresses{host: hostIPs, pod: podIPs}
			remembered.Add(uid, given)
			return given
		},
		"Running": func(object any, given ...*addresses) (string, error) {
			return podFunction(object, func(pod *corev1.Pod) corev1.PodStatus {
				if len(given) == 0 {
					given = []*addresses{present(pod)}
				}
				return running(pod, given[0].host, given[0].pod, metav1.Now())
			})
		},
		"Finished": func(object any) (string, error) {
			return podFunction(object, func(pod *corev1.Pod) corev1.PodStatus {
				return finished(pod, exitCodeOf(pod), metav1.Now())
			})
		},
		"Stopped": func(object any) (string, error) {
			return podFunction(object, func(pod *corev1.Pod) corev1.PodStatus {
				return finished(pod, sigtermExit, metav1.Now())
			})
		},
		"NodeHealthy": func(object any) (string, error) {
			var node corev1.Node
			if err := convert(object, &node); err != nil {
				return "", err
			}
			// Not a NodeStatus: most of its fields cannot be left out.
			return patch("", map[string]any{"conditions": nodeConditions(node.Status.Conditions, metav1.Now())})
		},
	}
}

// present are the addresses that the pod has.
func present(pod *corev1.Pod) *addresses {
	var has addresses
	for _, ip := range pod.Status.HostIPs {
		has.host = append(has.host, ip.IP)
	}
	for _, ip := range pod.Status.PodIPs {
		has.pod = append(has.pod, ip.IP)
	}
	return &has
}

// podFunction makes the patch fail if the pod has changed meanwhile; KWOK will
// look at it again then.
func podFunction(object any, status func(pod *corev1.Pod) corev1.PodStatus) (string, error) {
	var pod corev1.Pod
	if err := convert(object, &pod); err != nil {
		return "", err
	}
	return patch(pod.ResourceVersion, status(&pod))
}

func convert(object, into any) error {
	text, err := json.Marshal(object)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

func patch(resourceVersion string, status any) (string, error) {
	text, err := json.Marshal(struct {
		Metadata metav1.ObjectMeta `json:"metadata,omitzero"`
		Status   any               `json:"status"`
	}{metav1.ObjectMeta{ResourceVersion: resourceVersion}, status})
	return string(text), err
}
