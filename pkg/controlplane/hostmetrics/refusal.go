package hostmetrics

import (
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"nestling.dev/nestling/pkg/controlplane/hosttext"
)

// refusal is what a tenant is told when the host does not say what its pods or nodes use.
// It is always a 503: the tenant's request was right. The host's own words are left out,
// since they name the host's objects.
func refusal(resource string, err error) error {
	switch {
	case apierrors.IsNotFound(err):
		return apierrors.NewServiceUnavailable("the host cluster has no metrics API (metrics.k8s.io): whoever runs it must install one, such as metrics-server")
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return apierrors.NewServiceUnavailable(fmt.Sprintf("this cluster's own account may not list %s.metrics.k8s.io on the host cluster; whoever runs it must grant that", resource))
	case apierrors.ReasonForError(err) != "":
		return apierrors.NewServiceUnavailable("the host cluster's metrics API is not available; try again")
	}
	return apierrors.NewServiceUnavailable(hosttext.Unreachable)
}
