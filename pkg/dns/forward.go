package dns

import (
	"context"
	"fmt"
	"runtime"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	_ "github.com/coredns/coredns/plugin/cache" // registers itself, as forward does
	"github.com/coredns/coredns/plugin/forward"
	"github.com/miekg/dns"
)

const (
	// maxForwarded queries wait for nameservers at once; one takes some 2 KB, and those
	// above are refused.
	maxForwarded = 1000
	// maxCached answers of others are kept, and as many denials, each for cacheTTL seconds at most.
	maxCached = 2048
	cacheTTL  = 30
)

// asked is a way to other nameservers, through a cache.
type asked struct {
	handler plugin.Handler
	forward *forward.Forward
}

// ask makes a way to servers, IP:PORT, for a domain. The cache leaves out the names under
// uncached: what others say of the cluster's own domain.
func ask(domain string, servers []string, uncached string) (*asked, error) {
	last, err := configured(fmt.Sprintf("forward %s %s {\n policy sequential\n max_concurrent %d\n}\n",
		domain, strings.Join(servers, " "), maxForwarded), nil)
	if err != nil {
		return nil, err
	}
	// A failure is not kept: it is over when the nameserver is there again.
	cache, err := configured(fmt.Sprintf("cache %d %s {\n success %d %d\n denial %d %d\n servfail 0s\n disable success %s\n disable denial %s\n}\n",
		cacheTTL, domain, maxCached, cacheTTL, maxCached, cacheTTL, uncached, uncached), last)
	if err != nil {
		return nil, err
	}
	out := &asked{handler: cache, forward: last.(*forward.Forward)}
	return out, out.forward.OnStartup()
}

// close ends the connections. A probe of a nameserver that does not answer may go on for
// up to two seconds; upstream has no way to wait for it.
func (a *asked) close() {
	_ = a.forward.OnShutdown() // never fails
	for _, server := range a.forward.List() {
		runtime.SetFinalizer(server, nil) // upstream's, which does this once the collector comes along
		server.GetTransport().Stop()
	}
}

// configured is the plugin that a stanza of a Corefile configures. Most options of plugins
// can be set in no other way.
func configured(stanza string, next plugin.Handler) (plugin.Handler, error) {
	name, _, _ := strings.Cut(stanza, " ")
	setup, err := caddy.DirectiveAction("dns", name)
	if err != nil {
		return nil, err
	}
	controller := caddy.NewTestController("dns", stanza) // one that belongs to no instance of Caddy
	if err := setup(controller); err != nil {
		return nil, err
	}
	return dnsserver.GetConfig(controller).Plugin[0](next), nil
}

// refuse is the answer where no nameserver is known.
func refuse(context.Context, dns.ResponseWriter, *dns.Msg) (int, error) {
	return dns.RcodeRefused, nil
}
