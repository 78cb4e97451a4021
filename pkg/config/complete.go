package config

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"nestling.dev/nestling/pkg/podrules"
)

// Completed is a configuration that was checked as a whole. Only Complete makes one.
type Completed struct{ completed }

type completed struct {
	Config

	// PodName and PodUID are those of the pod that runs this process; empty outside a pod.
	PodName, PodUID string
	// ServerURL goes into the kubeconfig Secret: apiServer.serverURL, or the one inside the host cluster. Where
	// apiServer.exposure makes another, this is empty.
	ServerURL string
	// InClusterURL is that of the tenant's Service inside the host cluster.
	InClusterURL string
	// ServiceCIDR is invalid (its zero) when nothing but the host Service can tell; use ServiceRange on its ClusterIP.
	ServiceCIDR netip.Prefix
	// Preflight is sync.preflight.
	Preflight bool

	podRules *podrules.Rules

	bindAddress, advertiseAddress, dnsBindAddress netip.Addr
}

// Complete checks the configuration, fills in what it leaves open, and freezes it. The error is an *Error with all
// problems at once.
func (c *Config) Complete() (Completed, error) {
	if problems := c.validate(); len(problems) > 0 {
		return Completed{}, &Error{Problems: problems}
	}
	done := completed{
		Config:      *c,
		PodName:     c.environment.podName,
		PodUID:      c.environment.podUID,
		ServerURL:   c.APIServer.ServerURL,
		Preflight:   c.Sync.Preflight == nil || *c.Sync.Preflight,
		bindAddress: netip.MustParseAddr(c.APIServer.BindAddress),
	}
	done.APIServer.SANs = slices.Clone(c.APIServer.SANs)
	if done.Host.Service == "" {
		done.Host.Service = c.Tenant
	}
	done.InClusterURL = fmt.Sprintf("https://%s.%s.svc:443", done.Host.Service, done.Host.Namespace)
	if exposure := c.APIServer.Exposure; done.ServerURL == "" && exposure.Kind() == ExposeClusterIP && exposure.Host == "" {
		done.ServerURL = done.InClusterURL
	}
	done.Kubeconfigs = slices.Clone(c.Kubeconfigs)
	for i := range done.Kubeconfigs {
		done.Kubeconfigs[i] = done.Kubeconfigs[i].complete(c.Tenant, c.Host.Namespace)
	}
	if c.APIServer.AdvertiseAddress != "" {
		done.advertiseAddress = netip.MustParseAddr(c.APIServer.AdvertiseAddress)
	}
	done.ServiceCIDR = c.serviceCIDR()
	done.dnsBindAddress = netip.MustParseAddr(c.DNS.BindAddress)
	done.DNS.Upstream = nameservers(c.DNS.Upstream)
	done.DNS.StubDomains = map[string][]string{}
	for domain, servers := range c.DNS.StubDomains {
		done.DNS.StubDomains[domain] = nameservers(servers)
	}
	done.podRules, _ = podrules.Compile(c.Pods.Deny) // they were validated
	return Completed{done}, nil
}

// Check says of a file that leaves out what it does not change what the process of a tenant would say of it. The error
// is an *Error.
func (c *Config) Check(tenant, namespace string) error {
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("write the configuration of tenant %q: %w", tenant, err)
	}
	whole := Default()
	if err := json.Unmarshal(text, whole); err != nil {
		return fmt.Errorf("read the configuration of tenant %q: %w", tenant, err)
	}
	whole.Tenant, whole.Host.Namespace = tenant, namespace
	_, err = whole.Complete()
	return err
}

// InCluster says that the process reaches the host with its pod's own ServiceAccount.
func (c *completed) InCluster() bool { return c.Host.Kubeconfig == "" }

// BindIP is the address on which the tenant's API listens.
func (c *completed) BindIP() net.IP { return c.bindAddress.AsSlice() }

// DNSBindIP is the address on which the tenant's DNS listens.
func (c *completed) DNSBindIP() net.IP { return c.dnsBindAddress.AsSlice() }

// AdvertiseIP is the address at which pods reach the process; nil if nobody said, outside a pod.
func (c *completed) AdvertiseIP() net.IP { return c.advertiseAddress.AsSlice() }

// serviceCIDR believes KUBERNETES_SERVICE_HOST only in cluster: with a kubeconfig, the process may run in a pod of
// some other cluster.
func (c *Config) serviceCIDR() netip.Prefix {
	if c.Host.ServiceCIDR != "" {
		return netip.MustParsePrefix(c.Host.ServiceCIDR).Masked()
	}
	if c.Host.Kubeconfig != "" {
		return netip.Prefix{}
	}
	addr, err := netip.ParseAddr(c.environment.hostServiceIP)
	if err != nil {
		return netip.Prefix{}
	}
	return ServiceRange(addr)
}

// ServiceRange is the /12 (IPv6: /64) around a ClusterIP of the host. Upstream takes no larger range for IPv4 than a
// host could have (/12), and no larger one than /64 for IPv6, so it contains the host's whole primary range.
func ServiceRange(clusterIP netip.Addr) netip.Prefix {
	clusterIP = clusterIP.Unmap()
	bits := 12
	if clusterIP.Is6() {
		bits = 64
	}
	prefix, err := clusterIP.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // an invalid address has no range
	}
	return prefix
}
