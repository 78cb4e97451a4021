package hostclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// UnreachableError means that nobody answered for the host: waiting may help, as it never does for any other error of
// this package.
type UnreachableError struct {
	Server string
	Cause  error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("API server %s does not answer: %v", e.Server, e.Cause)
}

func (e *UnreachableError) Unwrap() error { return e.Cause }

// Answer sorts the error of a request: no answer, or one that is no use.
func Answer(server, what string, err error) error {
	if err == nil {
		return nil
	}
	var transport *url.Error
	var network net.Error
	switch {
	case apierrors.ReasonForError(err) != "":
		switch {
		case apierrors.IsUnauthorized(err):
			return fmt.Errorf("API server %s does not accept our credentials: %w", server, err)
		case apierrors.IsServiceUnavailable(err), apierrors.IsTimeout(err), apierrors.IsServerTimeout(err), apierrors.IsTooManyRequests(err):
			return &UnreachableError{Server: server, Cause: err}
		}
	case errors.As(err, &transport):
		return &UnreachableError{Server: server, Cause: transport.Err}
	case errors.As(err, &network), errors.Is(err, context.DeadlineExceeded):
		return &UnreachableError{Server: server, Cause: err}
	}
	return fmt.Errorf("%s: %w", what, err)
}
