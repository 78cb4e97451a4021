package controlplane

import (
	"context"
	"errors"

	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/pki"
)

// ControllerManagerUser is the user name upstream's RBAC defaults grant the
// controller manager's rights to.
const ControllerManagerUser = "system:kube-controller-manager"

// ControllerManagerOptions configure the controller manager.
type ControllerManagerOptions struct {
	// ClientConfig returns the connection, as ControllerManagerUser. It is
	// called in Run, when the API server is ready.
	ClientConfig func() (*rest.Config, error)

	PKI *pki.Bundle
	Dir string // keys are written here: mode 0700, files 0600

	// Controllers are upstream's names as in --controllers, for example "*" and
	// "-node-ipam-controller". Nil means TenantControllers().
	Controllers []string

	// ExtraArgs are flags of kube-controller-manager by name, without dashes.
	ExtraArgs map[string]string
}

// ControllerManager is upstream's kube-controller-manager as a component. It
// can run only once per process.
type ControllerManager struct{ opts ControllerManagerOptions }

// NewControllerManager checks the options.
func NewControllerManager(opts ControllerManagerOptions) (*ControllerManager, error) {
	return &ControllerManager{opts: opts}, nil
}

// Name of the component.
func (m *ControllerManager) Name() string { return "controller-manager" }

// Run runs the controllers until ctx ends.
func (m *ControllerManager) Run(ctx context.Context, ready func()) error {
	return errors.New("controller manager: not written yet")
}

// TenantControllers are the controllers of a cluster without nodes of its own.
func TenantControllers() []string { return []string{"*"} }
