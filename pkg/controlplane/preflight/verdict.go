package preflight

import (
	"context"
	"errors"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/pkg/controlplane/hosttext"
)

// outcome is what an answer of the host means for the object.
type outcome int

const (
	passes outcome = iota
	refused
	untold // the host could not say: a webhook has side effects, or does not answer
	absent // the host did not answer
)

// String is the word for it in metrics.
func (o outcome) String() string {
	switch o {
	case passes:
		return "passed"
	case refused:
		return "refused"
	case untold:
		return "untold"
	default:
		return "absent"
	}
}

// verdictOf reads the answer to a dry run. Only what the host will say again, whoever
// asks and however often, is a refusal.
func verdictOf(err error) outcome {
	if err == nil {
		return passes
	}
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) {
		if errors.Is(err, context.Canceled) {
			return untold // the tenant's client has gone
		}
		return absent
	}
	status := answer.Status()
	switch {
	case hosttext.AboutOwnRights(status), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		// Not about the object: the syncer meets it, too, and says so.
		return untold
	case strings.Contains(status.Message, " denied the request"):
		return refused // a webhook's word, whatever code it chose
	case strings.Contains(status.Message, " does not support dry run"):
		return untold
	}
	switch status.Code {
	case http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return refused
	case http.StatusNotFound, http.StatusConflict:
		return passes // a name that is taken, a host object that has changed or gone
	case http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusGatewayTimeout, http.StatusBadGateway:
		return absent
	}
	return untold
}

// refusalOf is the host's refusal for the tenant's user.
func refusalOf(err error, words hosttext.Words) error {
	out := words.Error(err)
	var status *apierrors.StatusError
	if errors.As(out, &status) {
		status.ErrStatus.TypeMeta = metav1.TypeMeta{}
		status.ErrStatus.Status = metav1.StatusFailure
	}
	return out
}
