package explain

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/syncer/resource"
)

// status is what an object shows of the host's side, by the fields that kinds have in
// common; nil: nothing has come back.
func status(virtual resource.Object, last Write) *Status {
	content, err := json.Marshal(virtual)
	if err != nil {
		return nil
	}
	var object struct {
		Status struct {
			Phase      string `json:"phase"`
			Reason     string `json:"reason"`
			Message    string `json:"message"`
			Conditions []struct {
				Type    string      `json:"type"`
				Status  string      `json:"status"`
				Reason  string      `json:"reason"`
				Message string      `json:"message"`
				Since   metav1.Time `json:"lastTransitionTime"`
			} `json:"conditions"`
		} `json:"status"`
	}
	if json.Unmarshal(content, &object) != nil {
		return nil // a status of another form
	}
	out := &Status{Phase: object.Status.Phase, Message: object.Status.Message}
	if out.Message == "" {
		out.Message = object.Status.Reason
	}
	for _, from := range object.Status.Conditions {
		condition := Condition{Type: from.Type, Status: from.Status, Reason: from.Reason, Message: from.Message}
		if !from.Since.IsZero() {
			condition.Since = &from.Since
		}
		out.Conditions = append(out.Conditions, condition)
	}
	if !last.At.IsZero() {
		out.Time = &metav1.Time{Time: last.At}
	}
	for _, condition := range out.Conditions {
		if condition.Since != nil && last.At.IsZero() && (out.Time == nil || out.Time.Before(condition.Since)) {
			out.Time = condition.Since
		}
	}
	if out.Phase == "" && out.Message == "" && len(out.Conditions) == 0 && out.Time == nil {
		return nil
	}
	return out
}
