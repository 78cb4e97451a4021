package golden

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"nestling.dev/nestling/syncer/apply"
	"nestling.dev/nestling/syncer/plan"
	"nestling.dev/nestling/syncer/resource"
)

// Carry carries a plan out in this world as two API servers would: the very patches are
// applied, each subresource changes its part only, and what a server refuses is an error.
func (w *World) Carry(kind resource.Kind, p plan.Plan) error {
	for _, action := range p.Actions {
		objects := &w.HostObjects
		if action.Side == plan.Virtual {
			objects = &w.VirtualObjects
		}
		if err := w.carry(kind, objects, action); err != nil {
			return fmt.Errorf("%s %s %s: %w", action.Verb, action.Side, action.Subresource, err)
		}
	}
	return nil
}

func (w *World) carry(kind resource.Kind, objects *[]resource.Object, action plan.Action) error {
	if action.Verb == plan.Create {
		return create(objects, action.Want)
	}
	at := slices.IndexFunc(*objects, func(o resource.Object) bool {
		return o.GetUID() == action.Live.GetUID() && resource.KeyOf(o) == resource.KeyOf(action.Live)
	})
	if at < 0 {
		return fmt.Errorf("%s is not there", resource.KeyOf(action.Live))
	}
	*objects = slices.Clone(*objects)
	switch action.Verb {
	case plan.Delete:
		return remove(objects, at, action.GracePeriodSeconds)
	case plan.Bind:
		pod := (*objects)[at].DeepCopyObject().(*corev1.Pod)
		if pod.Spec.NodeName != "" {
			return fmt.Errorf("pod %s is already assigned to node %q", pod.Name, pod.Spec.NodeName)
		}
		pod.Spec.NodeName = action.Node
		pod.Status.Conditions = append(slices.DeleteFunc(slices.Clone(pod.Status.Conditions), func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodScheduled
		}), corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue})
		(*objects)[at] = pod
		return nil
	}
	patched, err := patch(kind, (*objects)[at], action)
	if err == nil {
		(*objects)[at] = patched
	}
	return err
}

func create(objects *[]resource.Object, want resource.Object) error {
	object := want.DeepCopyObject().(resource.Object)
	for _, other := range *objects {
		if Plural(other) == Plural(object) && resource.KeyOf(other) == resource.KeyOf(object) {
			return fmt.Errorf("%s is there already", resource.KeyOf(object))
		}
	}
	if pod, ok := object.(*corev1.Pod); ok {
		if len(pod.Spec.EphemeralContainers) > 0 {
			return fmt.Errorf("spec.ephemeralContainers: Forbidden: cannot be set on create")
		}
		pod.Status = corev1.PodStatus{Phase: corev1.PodPending, QOSClass: corev1.PodQOSBurstable}
		pod.Generation = 1
	}
	object.SetUID(types.UID(fmt.Sprintf("made-here-%d", len(*objects))))
	object.SetCreationTimestamp(metav1.Time{Time: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)})
	*objects = append(slices.Clone(*objects), object)
	return nil
}

func remove(objects *[]resource.Object, at int, grace *int64) error {
	pod, ok := (*objects)[at].(*corev1.Pod)
	if !ok || grace != nil && *grace == 0 || pod.Spec.NodeName == "" {
		*objects = slices.Delete(*objects, at, at+1)
		return nil
	}
	if grace == nil {
		grace = pod.Spec.TerminationGracePeriodSeconds
	}
	pod = pod.DeepCopy()
	pod.DeletionTimestamp = &metav1.Time{Time: time.Date(2026, 1, 2, 3, 5, 0, 0, time.UTC)}
	pod.DeletionGracePeriodSeconds = grace
	pod.Generation++
	(*objects)[at] = pod
	return nil
}

func patch(kind resource.Kind, live resource.Object, action plan.Action) (resource.Object, error) {
	content, err := apply.Patch(kind, action.Live, action.Want)
	if err != nil || content == nil {
		return live, err
	}
	before, err := json.Marshal(live)
	if err != nil {
		return nil, err
	}
	var after []byte
	if apply.Type(kind) == types.MergePatchType {
		after, err = mergePatch(before, content)
	} else {
		after, err = strategicpatch.StrategicMergePatch(before, content, live)
	}
	if err != nil {
		return nil, err
	}
	out := reflect.New(reflect.TypeOf(live).Elem()).Interface().(resource.Object)
	if err := json.Unmarshal(after, out); err != nil {
		return nil, err
	}
	pod, ok := out.(*corev1.Pod)
	if !ok {
		return out, nil
	}
	return patchPod(live.(*corev1.Pod), pod, action.Subresource)
}

// mergePatch is RFC 7396 as a server applies it.
func mergePatch(document, patch []byte) ([]byte, error) {
	var target, change map[string]any
	if err := errors.Join(json.Unmarshal(document, &target), json.Unmarshal(patch, &change)); err != nil {
		return nil, err
	}
	var merge func(target, change map[string]any)
	merge = func(target, change map[string]any) {
		for key, value := range change {
			inner, ok := value.(map[string]any)
			switch {
			case value == nil:
				delete(target, key)
			case ok:
				if _, ok := target[key].(map[string]any); !ok {
					target[key] = map[string]any{}
				}
				merge(target[key].(map[string]any), inner)
			default:
				target[key] = value
			}
		}
	}
	merge(target, change)
	return json.Marshal(target)
}

// patchPod is what a server makes of a patched pod, by the subresource.
func patchPod(live, pod *corev1.Pod, subresource string) (*corev1.Pod, error) {
	out := live.DeepCopy()
	switch subresource {
	case "status":
		out.Status = pod.Status
		preserveGenerations(&live.Status, &out.Status)
		return out, nil
	case "ephemeralcontainers":
		out.Spec.EphemeralContainers = pod.Spec.EphemeralContainers
	case "resize":
		out.Spec.Resources = pod.Spec.Resources
		for i := range out.Spec.Containers {
			out.Spec.Containers[i].Resources = pod.Spec.Containers[i].Resources
		}
		for i := range out.Spec.InitContainers {
			out.Spec.InitContainers[i].Resources = pod.Spec.InitContainers[i].Resources
		}
	default:
		if err := allowed(live, pod); err != nil {
			return nil, err
		}
		out.ObjectMeta, out.Spec = pod.ObjectMeta, pod.Spec
	}
	if !equality.Semantic.DeepEqual(out.Spec, live.Spec) {
		out.Generation++
	}
	return out, nil
}

// preserveGenerations keeps an observed generation that a writer leaves out.
func preserveGenerations(live, status *corev1.PodStatus) {
	if status.ObservedGeneration == 0 {
		status.ObservedGeneration = live.ObservedGeneration
	}
	for i := range status.Conditions {
		for _, old := range live.Conditions {
			if status.Conditions[i].Type == old.Type && status.Conditions[i].ObservedGeneration == 0 {
				status.Conditions[i].ObservedGeneration = old.ObservedGeneration
			}
		}
	}
}

// allowed checks that a plain update of a pod changes only what one may.
func allowed(live, pod *corev1.Pod) error {
	munged := pod.DeepCopy()
	if len(munged.Spec.Containers) != len(live.Spec.Containers) || len(munged.Spec.InitContainers) != len(live.Spec.InitContainers) {
		return fmt.Errorf("spec: Forbidden: pod updates may not add or remove containers")
	}
	for i := range live.Spec.Containers {
		munged.Spec.Containers[i].Image = live.Spec.Containers[i].Image
	}
	for i := range live.Spec.InitContainers {
		munged.Spec.InitContainers[i].Image = live.Spec.InitContainers[i].Image
	}
	munged.Spec.Tolerations = live.Spec.Tolerations
	munged.Spec.ActiveDeadlineSeconds = live.Spec.ActiveDeadlineSeconds
	munged.Spec.TerminationGracePeriodSeconds = live.Spec.TerminationGracePeriodSeconds
	munged.Spec.SchedulingGates = live.Spec.SchedulingGates
	if len(live.Spec.SchedulingGates) > 0 {
		munged.Spec.NodeSelector, munged.Spec.Affinity = live.Spec.NodeSelector, live.Spec.Affinity
	}
	if !equality.Semantic.DeepEqual(munged.Spec, live.Spec) {
		return fmt.Errorf("spec: Forbidden: pod updates may not change this field")
	}
	for _, old := range live.Spec.Tolerations {
		if !slices.ContainsFunc(pod.Spec.Tolerations, func(t corev1.Toleration) bool {
			t.TolerationSeconds = old.TolerationSeconds
			return equality.Semantic.DeepEqual(t, old)
		}) {
			return fmt.Errorf("spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds")
		}
	}
	return nil
}
