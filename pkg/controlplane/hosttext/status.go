package hosttext

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Unreachable is what a tenant reads when the host API does not answer. It names
// no address: those of the host are not the tenant's business.
const Unreachable = "the host cluster's API does not answer; what runs already keeps running, try again"

// notAuthorized finds the verb and the resource in the message with which the
// host's RBAC refuses this cluster's own account.
var notAuthorized = regexp.MustCompile(`: User ".*" cannot (\S+) resource "([^"]+)"`)

// ParseStatus reads the body of an answer that is not a success: a Status, or
// plain text as kubelets write it.
func ParseStatus(code int, body []byte) metav1.Status {
	var status metav1.Status
	if err := json.Unmarshal(body, &status); err == nil && status.Kind == "Status" && status.Message != "" {
		if status.Code == 0 {
			status.Code = int32(code)
		}
		return status
	}
	message := strings.TrimSpace(string(body))
	if message == "" {
		message = fmt.Sprintf("the host answered %d %s", code, http.StatusText(code))
	}
	return metav1.Status{Status: metav1.StatusFailure, Code: int32(code), Message: message}
}

// Words puts what the host says into the tenant's words.
type Words func(text string) string

// Status is the host's status in the tenant's words. Refusals that are about this
// cluster's own account, and not about the tenant's request, are told as such: the
// tenant's user has no part in them.
func (w Words) Status(host metav1.Status) metav1.Status {
	status := *host.DeepCopy()
	status.ListMeta = metav1.ListMeta{}
	rights := notAuthorized.FindStringSubmatch(status.Message)
	switch {
	case rights != nil:
		return internal(fmt.Sprintf("this cluster's own account may not %s %s on the host cluster; whoever runs it must grant that", rights[1], rights[2]))
	case status.Code == http.StatusUnauthorized:
		return internal("the host cluster does not accept this cluster's own credentials; whoever runs it must renew them")
	}
	status.Message = w(status.Message)
	if details := status.Details; details != nil {
		details.UID = ""
		details.Name = w(details.Name)
		for i := range details.Causes {
			details.Causes[i].Message = w(details.Causes[i].Message)
		}
	}
	return status
}

// Error is the error of a call to the host API in the tenant's words, always a
// Status. What is not an answer of the host becomes Unreachable.
func (w Words) Error(err error) error {
	if err == nil {
		return nil
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return apierrors.NewServiceUnavailable(Unreachable)
	}
	return &apierrors.StatusError{ErrStatus: w.Status(status.Status())}
}

// AboutOwnRights reports whether the host refuses this cluster's own account, and not
// what the tenant asked for.
func AboutOwnRights(status metav1.Status) bool {
	return status.Code == http.StatusUnauthorized || notAuthorized.MatchString(status.Message)
}

// Status is the host's status with its names replaced.
func (n Names) Status(host metav1.Status) metav1.Status { return Words(n.Replace).Status(host) }

// Error is the error of a call to the host API with the host's names replaced.
func (n Names) Error(err error) error { return Words(n.Replace).Error(err) }

// internal is a failure that is no fault of the request.
func internal(message string) metav1.Status {
	return apierrors.NewInternalError(fmt.Errorf("%s", message)).ErrStatus
}
