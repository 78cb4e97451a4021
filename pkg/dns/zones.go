package dns

import (
	"fmt"
	"slices"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/kubernetes"
	"github.com/miekg/dns"
	"k8s.io/klog/v2"
)

// usual is the cluster domain that nearly every host has. It is hidden even where the
// search path of the process does not tell the host's.
const usual = "cluster.local."

// zones are the parts of the name space, each with its chain of handlers.
type zones struct {
	configs []*dnsserver.Config
	others  []*asked
}

func newZones(o Options, records *records, logger klog.Logger) (*zones, error) {
	around, err := readResolvConf(o.ResolvConf)
	if err != nil {
		return nil, err
	}
	z := &zones{}
	ours := dns.Fqdn(o.ClusterDomain)
	upstream := o.Upstream
	if len(upstream) == 0 {
		upstream = around.nameservers
	}
	rest, err := z.ask(".", upstream, ours)
	if err != nil {
		return nil, err
	}
	if !o.HostCluster {
		rest = hostless(slices.Concat(around.domains, []string{usual, ours}), rest)
	}
	cluster, err := cluster(o, ours, records)
	if err != nil {
		return nil, err
	}
	failures := &complaints{logger: logger}
	add := func(zone string, chain plugin.Handler) {
		z.configs = append(z.configs, &dnsserver.Config{
			Zone:   zone,
			Plugin: []plugin.Plugin{func(plugin.Handler) plugin.Handler { return measured(zone, failures, chain) }},
		})
	}
	own := ownNames(ours, records.owns, cluster(rest))
	if o.Service != nil {
		own = nameserver(ours, o.Service.IP, own)
	}
	add(ours, polished(own))
	add("in-addr.arpa.", cluster(rest))
	add("ip6.arpa.", cluster(rest))
	add(".", rest)
	for domain, servers := range o.StubDomains {
		domain = dns.Fqdn(domain)
		chain, err := z.ask(domain, servers, ours)
		if err != nil {
			return nil, err
		}
		add(domain, cluster(chain)) // of reverse names, the cluster's are its own
	}
	return z, nil
}

// ask is the way to servers; without any, all is refused.
func (z *zones) ask(domain string, servers []string, uncached string) (plugin.Handler, error) {
	if len(servers) == 0 {
		return handler{"nobody", refuse}, nil
	}
	other, err := ask(domain, servers, uncached)
	if err != nil {
		return nil, fmt.Errorf("forward %s: %w", domain, err)
	}
	z.others = append(z.others, other)
	return other.handler, nil
}

func (z *zones) close() {
	for _, other := range z.others {
		other.close()
	}
}

// cluster makes the kubernetes plugin before any other handler. Reverse names that it does
// not know go on to that; others only if the host's cluster shall show.
func cluster(o Options, domain string, records *records) (func(next plugin.Handler) plugin.Handler, error) {
	through := "in-addr.arpa ip6.arpa"
	if o.HostCluster {
		through = ""
	}
	controller := caddy.NewTestController("dns", fmt.Sprintf(
		"kubernetes %s in-addr.arpa ip6.arpa {\n pods verified\n ttl %d\n fallthrough %s\n}\n", domain, ttl, through))
	controller.Next()
	parsed, err := kubernetes.ParseStanza(controller)
	if err != nil {
		return nil, err
	}
	parsed.APIConn = records
	return func(next plugin.Handler) plugin.Handler {
		out := *parsed
		out.Next = next
		return out
	}, nil
}
