package explanation

import (
	"context"
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"nestling.dev/nestling/syncer/explain"
)

const (
	// podsMost bounds how many pods of a workload are looked at, and stuckMost how many of
	// them are told of.
	podsMost  = 200
	stuckMost = 5
	// eventsMost bounds how many events are read.
	eventsMost = 20
)

// workload tells of the pods of what makes pods: it stays in the tenant itself.
type workload struct {
	client dynamic.Interface // the user's
	source Source
}

// add tells of pods and of why there are none, as far as the user may know.
func (w workload) add(ctx context.Context, object *unstructured.Unstructured, out *explain.Explanation) {
	selector, err := selectorOf(object)
	if err != nil || selector == nil {
		return
	}
	if stuck := w.failure(ctx, object); stuck != nil {
		out.Stuck = append(out.Stuck, *stuck)
	}
	pods := schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	list, err := w.client.Resource(pods).Namespace(object.GetNamespace()).List(ctx, metav1.ListOptions{
		LabelSelector: metav1.FormatLabelSelector(selector), Limit: podsMost,
	})
	if err != nil {
		return // not for this user
	}
	out.Pods = &explain.Pods{Total: len(list.Items)}
	for i := range list.Items {
		pod, err := w.source.Explain(pods, "Pod", &list.Items[i])
		if err != nil || len(pod.Stuck) == 0 || len(out.Pods.Stuck) == stuckMost {
			continue
		}
		out.Pods.Stuck = append(out.Pods.Stuck, explain.Pod{Name: pod.Object.Name, State: pod.State, Stuck: pod.Stuck[0]})
	}
}

// failure is why a controller makes no pods: by the condition of its own, or the event.
func (w workload) failure(ctx context.Context, object *unstructured.Unstructured) *explain.Stuck {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, one := range conditions {
		condition, _ := one.(map[string]any)
		if condition["type"] == "ReplicaFailure" && condition["status"] == "True" {
			reason, _ := condition["reason"].(string)
			message, _ := condition["message"].(string)
			return &explain.Stuck{Reason: reason, Message: message}
		}
	}
	wanted, _, _ := unstructured.NestedInt64(object.Object, "spec", "replicas")
	have, _, _ := unstructured.NestedInt64(object.Object, "status", "replicas")
	if _, counts, _ := unstructured.NestedInt64(object.Object, "spec", "replicas"); counts && have >= wanted {
		return nil // old news
	}
	list, err := w.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"}).Namespace(object.GetNamespace()).List(ctx, metav1.ListOptions{
		FieldSelector: fields.Set{"involvedObject.uid": string(object.GetUID()), "reason": "FailedCreate"}.String(), Limit: eventsMost,
	})
	if err != nil || len(list.Items) == 0 {
		return nil
	}
	last := list.Items[len(list.Items)-1]
	message, _, _ := unstructured.NestedString(last.Object, "message")
	return &explain.Stuck{Reason: "FailedCreate", Message: message}
}

// selectorOf is what a workload selects its pods by; nil for what is no workload.
func selectorOf(object *unstructured.Unstructured) (*metav1.LabelSelector, error) {
	content, err := json.Marshal(object.Object["spec"])
	if err != nil {
		return nil, err
	}
	var spec struct {
		Template *struct{}       `json:"template"`
		Selector json.RawMessage `json:"selector"`
	}
	if json.Unmarshal(content, &spec) != nil || spec.Template == nil || len(spec.Selector) == 0 {
		return nil, nil
	}
	selector := &metav1.LabelSelector{}
	if object.GetKind() == "ReplicationController" {
		return selector, json.Unmarshal(spec.Selector, &selector.MatchLabels)
	}
	if err := json.Unmarshal(spec.Selector, selector); err != nil || len(selector.MatchLabels)+len(selector.MatchExpressions) == 0 {
		return nil, err
	}
	return selector, nil
}
