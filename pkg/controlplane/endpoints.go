package controlplane

import (
	"net"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/storage"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	discoveryv1client "k8s.io/client-go/kubernetes/typed/discovery/v1"
	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/pkg/controlplane/reconcilers"
)

// steadyEndpoints keeps default/kubernetes pointing at this server while it is
// down. Upstream withdraws a server that stops or has just started, for the
// sake of others beside it; with a single server that would only make every
// restart visible to all who watch endpoints.
type steadyEndpoints struct {
	reconcilers.EndpointReconciler
	stopped atomic.Bool
}

func newSteadyEndpoints(loopback *rest.Config) (*steadyEndpoints, error) {
	core, err := corev1client.NewForConfig(loopback)
	if err != nil {
		return nil, err
	}
	discovery, err := discoveryv1client.NewForConfig(loopback)
	if err != nil {
		return nil, err
	}
	adapter := reconcilers.NewEndpointsAdapter(core, discovery)
	return &steadyEndpoints{EndpointReconciler: reconcilers.NewMasterCountEndpointReconciler(1, adapter)}, nil
}

// StopReconciling comes right before the last RemoveEndpoints.
func (e *steadyEndpoints) StopReconciling() {
	e.stopped.Store(true)
	e.EndpointReconciler.StopReconciling()
}

// RemoveEndpoints does nothing. Upstream's caller takes success at the start as
// a sign of a crash before, and an error at the stop as a failure.
func (e *steadyEndpoints) RemoveEndpoints(serviceName string, _ net.IP, _ []corev1.EndpointPort) error {
	if e.stopped.Load() {
		return nil
	}
	return storage.NewKeyNotFoundError(serviceName, 0)
}
