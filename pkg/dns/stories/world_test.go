package stories

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes"

	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/controlplane/controlplanetest"
	"nestling.dev/nestling/pkg/dns"
	"nestling.dev/nestling/pkg/lifecycle"
)

const (
	// patience with the API server and its watches, on a machine that builds something else.
	patience = 20 * time.Second
	// serviceIP is that of kube-system/kube-dns, endpoint that of the process behind it.
	serviceIP, endpoint = "10.96.0.53", "10.244.3.3"
)

// world is a tenant's API and its DNS, with nameservers around it.
type world struct {
	virtual kubernetes.Interface
	api     *controlplanetest.Server
	server  *dns.Server
	stop    func() error
}

// start brings up an API server of its own for a test: the DNS of one makes Services in it.
func start(t *testing.T, configure func(*dns.Options)) *world {
	t.Helper()
	w := &world{api: controlplanetest.Start(t, controlplanetest.Options{
		Configure: func(o *controlplane.APIServerOptions) { o.ServiceCIDR = "10.96.0.0/12" },
	})}
	var err error
	w.virtual, err = kubernetes.NewForConfig(w.api.Config)
	require.NoError(t, err)
	w.serve(t, configure)
	t.Cleanup(func() { require.NoError(t, w.stop()) })
	return w
}

// serve starts a DNS for the world's API.
func (w *world) serve(t *testing.T, configure func(*dns.Options)) {
	t.Helper()
	virtual, err := w.api.API.ClientConfig(controlplane.DNSUser)
	require.NoError(t, err)
	options := dns.Options{
		Virtual: virtual, BindAddress: net.IPv4(127, 0, 0, 1), ClusterDomain: "cluster.local",
		ResolvConf: filepath.Join(t.TempDir(), "resolv.conf"),
		Service:    &dns.Service{IP: net.ParseIP(serviceIP), Endpoint: net.ParseIP(endpoint)},
	}
	require.NoError(t, os.WriteFile(options.ResolvConf, []byte("search tenants.svc.host.example svc.host.example host.example\n"), 0o600))
	if configure != nil {
		configure(&options)
	}
	w.server, err = dns.New(options)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- lifecycle.Run(ctx, []lifecycle.Component{w.server}, lifecycle.Options{
			Observe: func(_ string, phase lifecycle.Phase, _ time.Duration) {
				if phase == lifecycle.Ready {
					close(ready)
				}
			},
		})
	}()
	w.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	select {
	case <-ready:
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(patience):
		require.Fail(t, "the DNS does not start")
	}
}

// ask sends one query, TYPE NAME, by UDP or, as in "tcp A name", by TCP.
func (w *world) ask(t *testing.T, question string) *miekg.Msg {
	t.Helper()
	client := &miekg.Client{Timeout: 5 * time.Second}
	fields := strings.Fields(question)
	if len(fields) == 3 {
		client.Net, fields = fields[0], fields[1:]
	}
	query := new(miekg.Msg).SetQuestion(miekg.Fqdn(fields[1]), miekg.StringToType[fields[0]])
	query.SetEdns0(1232, false)
	answer, _, err := client.ExchangeContext(t.Context(), query, w.server.Address())
	require.NoError(t, err, question)
	return answer
}

// says is an answer in a few words: TYPE DATA of each record, or why there is none.
func says(answer *miekg.Msg) string {
	if answer.Rcode != miekg.RcodeSuccess {
		return miekg.RcodeToString[answer.Rcode]
	}
	return describe(answer.Answer)
}

func describe(records []miekg.RR) string {
	var out []string
	for _, record := range records {
		if record.Header().Rrtype == miekg.TypeOPT {
			continue
		}
		data := strings.TrimPrefix(record.String(), record.Header().String())
		out = append(out, miekg.TypeToString[record.Header().Rrtype]+" "+data)
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// eventually asks until the answer is as wanted.
func (w *world) eventually(t *testing.T, question, want string) {
	t.Helper()
	var got string
	require.Eventually(t, func() bool {
		got = says(w.ask(t, question))
		return got == want
	}, patience, 20*time.Millisecond, "%s: want %q", question, want)
}

// nameserver answers what zone says, lines as in a zone file, and otherwise that there is
// no such name. It is authoritative for nothing and sees all that is asked of it.
func nameserver(t *testing.T, zone string) (address string) {
	t.Helper()
	records := map[string][]miekg.RR{}
	for line := range strings.Lines(zone) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		record, err := miekg.NewRR(line)
		require.NoError(t, err, line)
		key := fmt.Sprint(strings.ToLower(record.Header().Name), record.Header().Rrtype)
		records[key] = append(records[key], record)
	}
	handler := miekg.HandlerFunc(func(w miekg.ResponseWriter, query *miekg.Msg) {
		answer := new(miekg.Msg).SetReply(query)
		name := strings.ToLower(query.Question[0].Name)
		answer.Answer = records[fmt.Sprint(name, query.Question[0].Qtype)]
		if cname := records[fmt.Sprint(name, miekg.TypeCNAME)]; len(answer.Answer) == 0 {
			answer.Answer = cname
		}
		if len(answer.Answer) == 0 {
			answer.Rcode = miekg.RcodeNameError
		}
		_ = w.WriteMsg(answer) // the client may have left
	})
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	stream, err := net.Listen("tcp", packets.LocalAddr().String())
	require.NoError(t, err)
	for _, server := range []*miekg.Server{{PacketConn: packets, Handler: handler}, {Listener: stream, Handler: handler}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		ended := make(chan error, 1)
		go func() { ended <- server.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			require.NoError(t, server.Shutdown())
			require.NoError(t, <-ended)
		})
	}
	return packets.LocalAddr().String()
}
