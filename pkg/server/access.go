package server

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"nestling.dev/nestling/pkg/access"
	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/deploy"
)

// accessUser is who keeps the tenant's kubeconfigs, to its API and in its audit log.
const accessUser = "nestling:kubeconfigs"

// runKubeconfig keeps the Secrets with which the tenant is reached.
func (s *server) runKubeconfig(ctx context.Context, ready func()) error {
	return access.New(access.Options{
		Host: s.host, Names: s.names, Owner: s.owner, PKI: s.pki,
		Exposure: s.config.APIServer.Exposure, Service: s.config.Host.Service,
		FixedURL: s.config.ServerURL, InClusterURL: s.config.InClusterURL,
		SANs: s.sans(), SetSANs: s.apiServer.SetSANs,
		Kubeconfigs: s.config.Kubeconfigs,
		Expires:     func(at time.Time) { s.adminExpires.Store(&at) },
		Virtual: func() (kubernetes.Interface, error) {
			virtual, err := s.apiServer.ClientConfig(accessUser, "system:masters")
			if err != nil {
				return nil, err
			}
			return kubernetes.NewForConfig(virtual)
		},
	}).Run(ctx, ready)
}

// checkService finds out a tenant that is called like another one's Service: team-a-dns is
// that of team-a for its DNS.
func checkService(service *corev1.Service, tenant string) error {
	if owner, selects := service.Spec.Selector[deploy.ControlPlaneLabel]; selects && owner != tenant {
		return fmt.Errorf("Service %q in namespace %q is of tenant %q: tenant %q needs another name or namespace",
			service.Name, service.Namespace, owner, tenant)
	}
	return nil
}

// checkExposure wants nodes to be readable where one of them is in the kubeconfig.
func (s *server) checkExposure() error {
	exposure := s.config.APIServer.Exposure
	if exposure.Kind() == config.ExposeNodePort && exposure.Host == "" && s.config.ServerURL == "" && s.unreadable["nodes"] {
		return fmt.Errorf("apiServer.exposure.host is required for type %s, since the host does not let us read its nodes: set it, or apply the tenant's manifests with their ClusterRole",
			exposure.Kind())
	}
	return nil
}
