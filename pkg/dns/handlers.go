package dns

import (
	"context"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/metrics/vars"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/pkg/rcode"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
	"k8s.io/klog/v2"
)

// handler is a plugin.Handler made of a function.
type handler struct {
	name  string
	serve func(ctx context.Context, w dns.ResponseWriter, query *dns.Msg) (int, error)
}

func (h handler) Name() string { return h.name }

func (h handler) ServeDNS(ctx context.Context, w dns.ResponseWriter, query *dns.Msg) (int, error) {
	return h.serve(ctx, w, query)
}

// writer changes answers on their way out.
type writer struct {
	dns.ResponseWriter
	change func(answer *dns.Msg) *dns.Msg
}

func (w writer) WriteMsg(answer *dns.Msg) error { return w.ResponseWriter.WriteMsg(w.change(answer)) }

// complaintInterval is how often failed queries are logged: a dead nameserver fails them all.
const complaintInterval = 30 * time.Second

// complaints counts failures since the last one that was logged.
type complaints struct {
	logger klog.Logger
	last   atomic.Int64 // nanoseconds since 1970
	silent atomic.Int64
}

func (c *complaints) log(err error, state request.Request) {
	last, now := c.last.Load(), time.Now().UnixNano()
	if now-last < int64(complaintInterval) || !c.last.CompareAndSwap(last, now) {
		c.silent.Add(1)
		return
	}
	c.logger.Info("DNS query failed", "name", state.Name(), "type", state.Type(), "err", err, "unreported", c.silent.Swap(0))
}

// measured counts queries in CoreDNS's own metrics, and logs what failed. zone is a label,
// one of a few.
func measured(zone string, failures *complaints, next plugin.Handler) plugin.Handler {
	return handler{"measured", func(ctx context.Context, w dns.ResponseWriter, query *dns.Msg) (int, error) {
		state := request.Request{W: w, Req: query}
		recorder := dnstest.NewRecorder(w)
		code, err := next.ServeDNS(ctx, recorder, query)
		if err != nil {
			failures.log(err, state)
		}
		sent := recorder.Rcode
		if !plugin.ClientWrite(code) {
			sent = code // the server writes it
		}
		vars.Report("dns", state, zone, "", rcode.ToString(sent), "", recorder.Len, recorder.Start)
		return code, err
	}}
}

// polished shuffles the addresses of an answer, as clients take the first, and lets nobody
// keep a denial: a name of the cluster may be there the next moment.
func polished(next plugin.Handler) plugin.Handler {
	return handler{"polished", func(ctx context.Context, w dns.ResponseWriter, query *dns.Msg) (int, error) {
		return next.ServeDNS(ctx, writer{w, polish}, query)
	}}
}

func polish(answer *dns.Msg) *dns.Msg {
	var at []int
	for i, record := range answer.Answer {
		if kind := record.Header().Rrtype; kind == dns.TypeA || kind == dns.TypeAAAA {
			at = append(at, i)
		}
	}
	rand.Shuffle(len(at), func(i, j int) {
		answer.Answer[at[i]], answer.Answer[at[j]] = answer.Answer[at[j]], answer.Answer[at[i]]
	})
	if len(answer.Answer) == 0 {
		for _, record := range answer.Ns {
			if soa, ok := record.(*dns.SOA); ok { // made for this answer
				soa.Hdr.Ttl, soa.Minttl = 0, 0
			}
		}
	}
	return answer
}

// nameserver answers who serves zone: the Service that the tenant sees. CoreDNS finds it by
// the addresses of the machine, which tell nothing here.
func nameserver(zone string, ip net.IP, next plugin.Handler) plugin.Handler {
	name, alias := ServiceName+"."+ServiceNamespace+".svc."+zone, "ns.dns."+zone
	return handler{"nameserver", func(ctx context.Context, w dns.ResponseWriter, query *dns.Msg) (int, error) {
		state := request.Request{W: w, Req: query}
		answer := new(dns.Msg).SetReply(query)
		answer.Authoritative = true
		switch asked := state.Name(); {
		case asked == zone && state.QType() == dns.TypeNS:
			answer.Answer = []dns.RR{&dns.NS{Hdr: header(zone, dns.TypeNS), Ns: name}}
			answer.Extra = []dns.RR{address(name, ip)}
		case asked == alias && state.QType() == address(alias, ip).Header().Rrtype:
			answer.Answer = []dns.RR{address(state.QName(), ip)}
		default:
			return next.ServeDNS(ctx, w, query)
		}
		return dns.RcodeSuccess, w.WriteMsg(answer)
	}}
}

// ownNames tells a pod the address of its own HOSTNAME.SUBDOMAIN.NAMESPACE.svc, whether or
// not there is such a Service, and whether or not the pod is ready. Elsewhere kubelet writes
// the name into the pod's /etc/hosts; what it would write on the host is a name of the host's.
func ownNames(zone string, owns func(ip, own, namespace string) bool, next plugin.Handler) plugin.Handler {
	suffix := ".svc." + zone
	return handler{"ownNames", func(ctx context.Context, w dns.ResponseWriter, query *dns.Msg) (int, error) {
		state := request.Request{W: w, Req: query}
		inside, under := strings.CutSuffix(state.Name(), suffix)
		kind := state.QType()
		if !under || kind != dns.TypeA && kind != dns.TypeAAAA {
			return next.ServeDNS(ctx, w, query)
		}
		at := strings.LastIndexByte(inside, '.')
		if at < 0 || !owns(state.IP(), inside[:at], inside[at+1:]) {
			return next.ServeDNS(ctx, w, query)
		}
		answer := new(dns.Msg).SetReply(query)
		answer.Authoritative = true
		// Without an address of that family the name is still there.
		if record := address(state.QName(), net.ParseIP(state.IP())); record.Header().Rrtype == kind {
			answer.Answer = []dns.RR{record}
		}
		return dns.RcodeSuccess, w.WriteMsg(answer)
	}}
}

// ttl of the cluster's records, in seconds: CoreDNS's default.
const ttl = 5

func header(name string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: ttl}
}

func address(name string, ip net.IP) dns.RR {
	if v4 := ip.To4(); v4 != nil {
		return &dns.A{Hdr: header(name, dns.TypeA), A: v4}
	}
	return &dns.AAAA{Hdr: header(name, dns.TypeAAAA), AAAA: ip}
}
