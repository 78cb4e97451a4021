package dns

import (
	"context"
	"slices"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

// hostless hides the names of the host's cluster: the upstream is most often its DNS.
// Names under domains do not exist, and neither does a name whose answer holds one of
// them: a PTR record of a host Service, or of a neighbour's pod.
//
// The cluster's own domain is among domains, too: what an upstream says about it is about
// another cluster of that name.
func hostless(domains []string, next plugin.Handler) plugin.Handler {
	hidden := plugin.Zones(domains)
	return handler{"hostless", func(ctx context.Context, w dns.ResponseWriter, query *dns.Msg) (int, error) {
		state := request.Request{W: w, Req: query}
		if hidden.Matches(state.Name()) != "" {
			return dns.RcodeNameError, w.WriteMsg(new(dns.Msg).SetRcode(query, dns.RcodeNameError))
		}
		return next.ServeDNS(ctx, writer{w, func(answer *dns.Msg) *dns.Msg {
			if !tells(answer, hidden) {
				return answer
			}
			return new(dns.Msg).SetRcode(query, dns.RcodeNameError)
		}}, query)
	}}
}

// tells reports whether an answer holds a name under one of the domains.
func tells(answer *dns.Msg, domains plugin.Zones) bool {
	return slices.ContainsFunc(slices.Concat(answer.Answer, answer.Ns, answer.Extra), func(record dns.RR) bool {
		return slices.ContainsFunc(names(record), func(name string) bool { return domains.Matches(name) != "" })
	})
}

// names are the domain names in a record: its own, and those that it refers to.
func names(record dns.RR) []string {
	out := []string{record.Header().Name}
	switch r := record.(type) {
	case *dns.PTR:
		out = append(out, r.Ptr)
	case *dns.CNAME:
		out = append(out, r.Target)
	case *dns.DNAME:
		out = append(out, r.Target)
	case *dns.SRV:
		out = append(out, r.Target)
	case *dns.SVCB:
		out = append(out, r.Target)
	case *dns.HTTPS:
		out = append(out, r.Target)
	case *dns.MX:
		out = append(out, r.Mx)
	case *dns.NS:
		out = append(out, r.Ns)
	case *dns.SOA:
		out = append(out, r.Ns, r.Mbox)
	case *dns.NAPTR:
		out = append(out, r.Replacement)
	case *dns.NSEC:
		out = append(out, r.NextDomain)
	}
	return out
}
