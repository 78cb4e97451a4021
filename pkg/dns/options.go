package dns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"k8s.io/client-go/rest"
)

// Options of a server.
type Options struct {
	// Virtual connects to the tenant's API, with the rights of controlplane's role for DNS.
	Virtual *rest.Config
	// BindAddress and Port are where it listens, by UDP and by TCP. Port 0 is any, the same for both.
	BindAddress net.IP
	Port        int
	// ClusterDomain is that of the tenant: "cluster.local".
	ClusterDomain string

	// Upstream are the nameservers for names that are not the cluster's, as IP:PORT. Empty
	// means those of ResolvConf.
	Upstream []string
	// StubDomains are domains with nameservers of their own, as IP:PORT.
	StubDomains map[string][]string
	// HostCluster lets names of the host's cluster through. They are hidden otherwise: under
	// every domain that ResolvConf tells, and where an answer of others holds one.
	HostCluster bool
	// ResolvConf is what the process itself resolves by. Default /etc/resolv.conf.
	ResolvConf string

	// Service is kube-system/kube-dns; nil leaves it alone.
	Service *Service
}

// Service is how the tenant sees its DNS: as a Service with this process behind it.
type Service struct {
	// IP is that of the host Service in front of this process.
	IP net.IP
	// Endpoint is the address of this process's pod.
	Endpoint net.IP
}

func (o Options) complete() (Options, error) {
	if o.Virtual == nil {
		return o, errors.New("no client configuration for the tenant's API")
	}
	if o.ClusterDomain == "" {
		o.ClusterDomain = "cluster.local"
	}
	if o.BindAddress == nil {
		o.BindAddress = net.IPv4zero
	}
	if o.ResolvConf == "" {
		o.ResolvConf = "/etc/resolv.conf"
	}
	all := map[string][]string{"upstream": o.Upstream}
	for domain, servers := range o.StubDomains {
		if len(servers) == 0 {
			return o, fmt.Errorf("stub domain %s has no nameservers", domain)
		}
		all["stub domain "+domain] = servers
	}
	for of, servers := range all {
		for _, server := range servers {
			if _, err := netip.ParseAddrPort(server); err != nil {
				return o, fmt.Errorf("%s: nameserver %q is not IP:PORT", of, server)
			}
		}
	}
	return o, nil
}
