package server

import (
	"context"
	"errors"
	"net"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/pkg/dns"
	"nestling.dev/nestling/syncer/resource"
)

// findDNS is the address at which pods reach the tenant's DNS. Without it they resolve with
// their nodes' nameservers, and no names of the tenant's. A Service that selects the pods
// of another tenant, one that is called TENANT-dns, is not ours.
func (s *server) findDNS(ctx context.Context, service *corev1.Service) net.IP {
	if service != nil {
		owner, selects := service.Spec.Selector[deploy.ControlPlaneLabel]
		if ip := net.ParseIP(service.Spec.ClusterIP); ip != nil && (!selects || owner == s.names.Tenant) {
			return ip
		}
	}
	klog.FromContext(ctx).Info("The tenant has no Service for its DNS: pods do not resolve names of the tenant; apply the tenant's manifests again",
		"namespace", s.names.Namespace, "name", s.names.DNS())
	return nil
}

// runDNS does nothing where no pod could ask.
func (s *server) runDNS(ctx context.Context, ready func()) error {
	if s.dnsIP == nil {
		return once(ctx, ready, func() error { return nil })
	}
	virtual, err := s.apiServer.ClientConfig(controlplane.DNSUser)
	if err != nil {
		return err
	}
	server, err := dns.New(dns.Options{
		Virtual:     virtual,
		BindAddress: s.config.DNSBindIP(), Port: s.config.DNS.Port,
		ClusterDomain: s.config.ClusterDomain,
		Upstream:      s.config.DNS.Upstream, StubDomains: s.config.DNS.StubDomains, HostCluster: s.config.DNS.HostCluster,
		Service: &dns.Service{IP: s.dnsIP, Endpoint: s.config.AdvertiseIP()},
	})
	if err != nil {
		return err
	}
	s.dns.Store(server)
	return server.Run(ctx, ready)
}

// checkDNS is part of /readyz.
func (s *server) checkDNS(*http.Request) error {
	if s.dnsIP == nil {
		return nil
	}
	if running := s.dns.Load(); running == nil || !running.HasSynced() {
		return errors.New("the DNS does not know the tenant's names yet")
	}
	return nil
}

// dnsAddress is what pods have in their resolv.conf; empty: their nodes' nameservers.
func (s *server) dnsAddress() string {
	if s.dnsIP == nil {
		return ""
	}
	return s.dnsIP.String()
}

// isDNSService tells kube-system/kube-dns, which the process makes for itself.
func (s *server) isDNSService(namespace, name string) bool {
	return s.dnsIP != nil && namespace == dns.ServiceNamespace && name == dns.ServiceName
}

// controlPlane are the ports that NetworkPolicies of the tenant leave open.
func (s *server) controlPlane() resource.ControlPlane {
	out := resource.ControlPlane{APIPort: int32(s.config.APIServer.Port)}
	if s.dnsIP != nil {
		out.DNSPort = int32(s.config.DNS.Port)
	}
	return out
}
