package dns

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	plugintest "github.com/coredns/coredns/plugin/test"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// says is the answer of a handler to a question.
func says(t *testing.T, h plugin.Handler, name string, kind uint16) *dns.Msg {
	t.Helper()
	recorder := dnstest.NewRecorder(&plugintest.ResponseWriter{})
	_, err := h.ServeDNS(t.Context(), recorder, new(dns.Msg).SetQuestion(name, kind))
	require.NoError(t, err)
	require.NotNil(t, recorder.Msg)
	return recorder.Msg
}

// other answers each question with the same record, in the section that it is asked in.
func other(t *testing.T, section, text string) plugin.Handler {
	t.Helper()
	record, err := dns.NewRR(text)
	require.NoError(t, err)
	return handler{"other", func(_ context.Context, w dns.ResponseWriter, query *dns.Msg) (int, error) {
		answer := new(dns.Msg).SetReply(query)
		switch section {
		case "answer":
			answer.Answer = append(answer.Answer, record)
		case "authority":
			answer.Ns = append(answer.Ns, record)
		case "additional":
			answer.Extra = append(answer.Extra, record)
		}
		return dns.RcodeSuccess, w.WriteMsg(answer)
	}}
}

func TestNoRecordTellsANameOfTheHosts(t *testing.T) {
	t.Parallel()
	domains := []string{"cluster.local.", "host.example."}
	for text, hidden := range map[string]bool{
		`1.0.96.10.in-addr.arpa. 5 IN PTR kubernetes.default.svc.cluster.local.`: true,
		`www.example.org. 5 IN CNAME a.HOST.example.`:                            true,
		`example.org. 5 IN DNAME host.example.`:                                  true,
		`_a._tcp.example.org. 5 IN SRV 0 0 80 a.host.example.`:                   true,
		`example.org. 5 IN MX 10 a.host.example.`:                                true,
		`example.org. 5 IN NS ns.host.example.`:                                  true,
		`example.org. 5 IN SOA a.host.example. b.example.org. 1 1 1 1 1`:         true,
		`example.org. 5 IN SOA a.example.org. b.host.example. 1 1 1 1 1`:         true,
		`example.org. 5 IN SVCB 1 a.host.example.`:                               true,
		`example.org. 5 IN HTTPS 1 a.host.example.`:                              true,
		`example.org. 5 IN NAPTR 1 1 "S" "A" "" a.host.example.`:                 true,
		`example.org. 5 IN NSEC a.host.example. A`:                               true,
		`a.host.example. 5 IN A 10.0.0.1`:                                        true,
		`ghost.example. 5 IN A 10.0.0.1`:                                         false,
		`www.example.org. 5 IN A 10.0.0.1`:                                       false,
		`www.example.org. 5 IN CNAME host.example.org.`:                          false,
		`www.example.org. 5 IN TXT "a"`:                                          false,
	} {
		for _, section := range []string{"answer", "authority", "additional"} {
			answer := says(t, hostless(domains, other(t, section, text)), "whatever.example.", dns.TypeA)
			require.Equal(t, hidden, answer.Rcode == dns.RcodeNameError, "%s in %s", text, section)
			if hidden {
				require.Empty(t, append(append(answer.Answer, answer.Ns...), answer.Extra...))
			}
		}
	}
}

// Names of the host's are not even asked for.
func TestNamesOfTheHostsStayHere(t *testing.T) {
	t.Parallel()
	next := handler{"next", func(context.Context, dns.ResponseWriter, *dns.Msg) (int, error) {
		t.Error("the upstream was asked")
		return dns.RcodeSuccess, nil
	}}
	for _, name := range []string{"host.example.", "A.b.Host.Example."} {
		require.Equal(t, dns.RcodeNameError, says(t, hostless([]string{"host.example."}, next), name, dns.TypeSOA).Rcode)
	}
}

// A pod's own name is its own before it is ready, and without a Service; to others it is what
// the cluster says. The asker of these tests is 10.240.0.1.
func TestOwnNames(t *testing.T) {
	t.Parallel()
	owns := func(ip, own, namespace string) bool {
		return ip == "10.240.0.1" && own == "web-0.web" && namespace == "shop"
	}
	next := other(t, "answer", "next.example. 5 IN A 192.0.2.1")
	for question, want := range map[string]string{
		"web-0.web.shop.svc.cluster.local.":       "10.240.0.1",
		"WEB-0.web.shop.svc.cluster.local.":       "10.240.0.1",
		"web-1.web.shop.svc.cluster.local.":       "192.0.2.1",
		"web-0.web.other.svc.cluster.local.":      "192.0.2.1",
		"web.shop.svc.cluster.local.":             "192.0.2.1",
		"svc.cluster.local.":                      "192.0.2.1",
		"web-0.web.shop.svc.cluster.local.other.": "192.0.2.1",
	} {
		answer := says(t, ownNames("cluster.local.", owns, next), question, dns.TypeA)
		require.Len(t, answer.Answer, 1, question)
		require.Equal(t, want, answer.Answer[0].(*dns.A).A.String(), question)
	}
	// The name is there, so that nobody takes its lack of an address of that family for more.
	answer := says(t, ownNames("cluster.local.", owns, next), "web-0.web.shop.svc.cluster.local.", dns.TypeAAAA)
	require.Equal(t, dns.RcodeSuccess, answer.Rcode)
	require.Empty(t, answer.Answer)
	require.Len(t, says(t, ownNames("cluster.local.", owns, next), "web-0.web.shop.svc.cluster.local.", dns.TypeSRV).Answer, 1)
}

func TestPodsKeepTheirOwnNames(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec corev1.PodSpec
		own  string
	}{
		"hostname and subdomain":     {corev1.PodSpec{Hostname: "A", Subdomain: "web"}, "a.web"},
		"a subdomain alone":          {corev1.PodSpec{Subdomain: "web"}, "web-0.web"},
		"a hostname alone":           {corev1.PodSpec{Hostname: "a"}, ""},
		"in the network of its node": {corev1.PodSpec{Hostname: "a", Subdomain: "web", HostNetwork: true}, ""},
	} {
		out, err := toPod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Labels: map[string]string{"a": "b"}}, Spec: c.spec})
		require.NoError(t, err)
		require.Equal(t, c.own, out.(*pod).own, name)
		require.Empty(t, out.GetLabels(), name)
	}
}

func TestResolvConf(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "resolv.conf")
	require.NoError(t, os.WriteFile(path, []byte("search tenants.svc.Host.example svc.Host.example host.example corp.example\nnameserver 10.96.0.10\nnameserver fd00::10\noptions ndots:5\n"), 0o600))
	got, err := readResolvConf(path)
	require.NoError(t, err)
	want := surroundings{nameservers: []string{"10.96.0.10:53", "[fd00::10]:53"}, domains: []string{"host.example."}}
	require.Empty(t, cmp.Diff(want, got, cmp.AllowUnexported(surroundings{})))

	none, err := readResolvConf("/nowhere/resolv.conf")
	require.NoError(t, err)
	require.Empty(t, none.nameservers)
}

// Those above the limit wait, and go on when one before them ends; closing frees them.
func TestLimitedConnections(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	listener := limited(inner, 1)
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	for range 3 {
		conn, err := net.Dial("tcp", inner.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
	}
	first := <-accepted
	select {
	case <-accepted:
		require.Fail(t, "the second was accepted beside the first")
	case <-time.After(20 * time.Millisecond):
	}
	require.NoError(t, first.Close())
	_ = first.Close() // counts once
	second := <-accepted
	defer second.Close()
	require.NoError(t, listener.Close())
	_, open := <-accepted
	require.False(t, open)
}

func TestOptions(t *testing.T) {
	t.Parallel()
	_, err := New(Options{})
	require.EqualError(t, err, "dns: no client configuration for the tenant's API")
}
