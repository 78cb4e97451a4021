package serviceip

import (
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apiservice "k8s.io/kubernetes/pkg/api/service"
	api "k8s.io/kubernetes/pkg/apis/core"
	corev1conversion "k8s.io/kubernetes/pkg/apis/core/v1"
	netutils "k8s.io/utils/net"
)

// toV1 is the internal Service as users know it.
func toV1(internal *api.Service) (*corev1.Service, error) {
	out := &corev1.Service{}
	if err := corev1conversion.Convert_core_Service_To_v1_Service(internal, out, nil); err != nil {
		return nil, fmt.Errorf("convert Service %s/%s: %w", internal.Namespace, internal.Name, err)
	}
	return out, nil
}

// assign puts the addresses of the host Service into the requested one where wanted,
// which is what the request comes to, has none.
func (p *Plugin) assign(service, wanted *api.Service, host *corev1.Service) error {
	if err := p.assignIPs(service, wanted, host); err != nil {
		return err
	}
	if wanted.Spec.Type != api.ServiceTypeClusterIP {
		for i := range service.Spec.Ports {
			port := &service.Spec.Ports[i]
			if wanted.Spec.Ports[i].NodePort == 0 {
				port.NodePort = nodePort(host, port)
			}
		}
	}
	if apiservice.NeedsHealthCheck(wanted) && wanted.Spec.HealthCheckNodePort == 0 {
		service.Spec.HealthCheckNodePort = host.Spec.HealthCheckNodePort
	}
	return nil
}

// nodePort is the host's for a port. The pair of number and protocol is unique.
func nodePort(host *corev1.Service, port *api.ServicePort) int32 {
	for _, candidate := range host.Spec.Ports {
		if candidate.Port == port.Port && candidate.Protocol == corev1.Protocol(port.Protocol) {
			return candidate.NodePort
		}
	}
	return 0
}

func (p *Plugin) assignIPs(service, wanted *api.Service, host *corev1.Service) error {
	var ips []string
	var families []api.IPFamily
	for _, ip := range host.Spec.ClusterIPs {
		family := corev1.IPv4Protocol
		if netutils.IsIPv6String(ip) {
			family = corev1.IPv6Protocol
		}
		if len(p.options.Families) == 0 || slices.Contains(p.options.Families, family) {
			ips, families = append(ips, ip), append(families, api.IPFamily(family))
		}
	}
	switch {
	case len(ips) == 0:
		return apierrors.NewInternalError(errors.New("the host cluster gave the Service no address of a family that this cluster has"))
	case len(ips) <= len(wanted.Spec.ClusterIPs):
		// All that there is to give, the user has or asks for. Should the host not agree
		// with an existing address, the syncer sees to it: addresses do not change.
		return nil
	}
	service.Spec.ClusterIP, service.Spec.ClusterIPs, service.Spec.IPFamilies = ips[0], ips, families
	if service.Spec.IPFamilyPolicy == nil && host.Spec.IPFamilyPolicy != nil {
		policy := api.IPFamilyPolicy(*host.Spec.IPFamilyPolicy)
		service.Spec.IPFamilyPolicy = &policy
	}
	return nil
}
