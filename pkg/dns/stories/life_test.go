package stories

import (
	"context"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	miekg "github.com/miekg/dns"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/dns"
)

// A name that was asked for in vain resolves as soon as it is there: nothing keeps the
// denial, not even for a second.
func TestANewNameResolvesAtOnce(t *testing.T) {
	t.Parallel()
	w := join(t, nil)
	const rounds = 20
	var took []time.Duration
	for i := range rounds {
		name := "new-" + strconv.Itoa(i)
		question := "A web-0." + name + ".default.svc.cluster.local"
		require.Equal(t, "NXDOMAIN", says(w.ask(t, question)))
		service := parse[corev1.Service](t, "{metadata: {name: "+name+"}, spec: {clusterIP: None, ports: [{port: 80}]}}")
		_, err := w.virtual.CoreV1().Services("default").Create(t.Context(), &service, metav1.CreateOptions{})
		require.NoError(t, err)
		slice := parse[discoveryv1.EndpointSlice](t, `
metadata: {name: `+name+`, labels: {kubernetes.io/service-name: `+name+`}}
addressType: IPv4
endpoints: [{addresses: [10.244.0.9], hostname: web-0}]
`)
		require.Equal(t, "NXDOMAIN", says(w.ask(t, question)))
		_, err = w.virtual.DiscoveryV1().EndpointSlices("default").Create(t.Context(), &slice, metav1.CreateOptions{})
		require.NoError(t, err)
		begin := time.Now()
		// With pauses: who asks all the time takes a core from who answers.
		require.Eventually(t, func() bool { return says(w.ask(t, question)) == "A 10.244.0.9" }, patience, 2*time.Millisecond)
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	median, slowest := took[rounds/2], took[rounds-1]
	t.Logf("half of %d resolved within %s after their endpoints were written, the slowest %s", rounds, median, slowest)
	// A denial that is kept delays every name; a busy machine delays one. Records live 5 s.
	require.Less(t, median, time.Second)
	require.Less(t, slowest, 4*time.Second)
}

// An answer that does not fit into a packet says so, and TCP has all of it.
func TestLongAnswers(t *testing.T) {
	t.Parallel()
	w := join(t, nil)
	const many = 200
	service := parse[corev1.Service](t, "{metadata: {name: many}, spec: {clusterIP: None, ports: [{port: 80}]}}")
	_, err := w.virtual.CoreV1().Services("default").Create(t.Context(), &service, metav1.CreateOptions{})
	require.NoError(t, err)
	slice := parse[discoveryv1.EndpointSlice](t, "{metadata: {name: many, labels: {kubernetes.io/service-name: many}}, addressType: IPv4}")
	for i := range many {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{"10.244.1." + strconv.Itoa(i+1)}})
	}
	_, err = w.virtual.DiscoveryV1().EndpointSlices("default").Create(t.Context(), &slice, metav1.CreateOptions{})
	require.NoError(t, err)
	const question = "A many.default.svc.cluster.local"
	require.Eventually(t, func() bool { return len(w.ask(t, "tcp "+question).Answer) == many }, patience, 20*time.Millisecond)
	answer := w.ask(t, question)
	require.True(t, answer.Truncated)
	answer.Compress = true // as on the wire
	require.LessOrEqual(t, answer.Len(), 1232)
	plain, _, err := new(miekg.Client).ExchangeContext(t.Context(), new(miekg.Msg).SetQuestion("many.default.svc.cluster.local.", miekg.TypeA), w.server.Address())
	require.NoError(t, err)
	require.True(t, plain.Truncated)
	plain.Compress = true
	require.LessOrEqual(t, plain.Len(), miekg.MinMsgSize)
}

func TestTheServiceIsKept(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	services := w.virtual.CoreV1().Services(dns.ServiceNamespace)
	_, port, err := net.SplitHostPort(w.server.Address())
	require.NoError(t, err)
	number, err := strconv.Atoi(port)
	require.NoError(t, err)
	w.eventually(t, "A kube-dns.kube-system.svc.cluster.local", "A "+serviceIP)

	right := func(t *testing.T, service *corev1.Service) {
		t.Helper()
		require.Equal(t, serviceIP, service.Spec.ClusterIP)
		require.Equal(t, "kube-dns", service.Labels["k8s-app"])
		require.Equal(t, "CoreDNS", service.Labels["kubernetes.io/name"])
		require.Empty(t, service.Spec.Selector)
		var ports []string
		for _, p := range service.Spec.Ports {
			ports = append(ports, p.Name+" "+string(p.Protocol)+" "+strconv.Itoa(int(p.Port))+" "+p.TargetPort.String())
		}
		require.Empty(t, cmp.Diff([]string{"dns UDP 53 " + port, "dns-tcp TCP 53 " + port}, ports))
	}
	first, err := services.Get(t.Context(), dns.ServiceName, metav1.GetOptions{})
	require.NoError(t, err)
	right(t, first)
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		slice, err := w.virtual.DiscoveryV1().EndpointSlices(dns.ServiceNamespace).Get(context.Background(), dns.ServiceName, metav1.GetOptions{})
		require.NoError(t, err)
		require.Equal(t, []string{endpoint}, slice.Endpoints[0].Addresses)
		require.EqualValues(t, number, *slice.Ports[0].Port)
		require.Equal(t, dns.ServiceName, slice.Labels[discoveryv1.LabelServiceName])
	}, patience, 20*time.Millisecond)

	t.Run("what differs is put right, what others add stays", func(t *testing.T) {
		_, err := services.Patch(t.Context(), dns.ServiceName, types.MergePatchType,
			[]byte(`{"metadata":{"labels":{"k8s-app":"other","mine":"yes"}},"spec":{"ports":null}}`), metav1.PatchOptions{})
		require.Error(t, err, "a Service needs ports")
		_, err = services.Patch(t.Context(), dns.ServiceName, types.MergePatchType,
			[]byte(`{"metadata":{"labels":{"k8s-app":"other","mine":"yes"}},"spec":{"ports":[{"name":"dns","port":53,"protocol":"UDP","targetPort":1}]}}`), metav1.PatchOptions{})
		require.NoError(t, err)
		require.EventuallyWithT(t, func(t *assert.CollectT) {
			live, err := services.Get(context.Background(), dns.ServiceName, metav1.GetOptions{})
			require.NoError(t, err)
			require.Equal(t, "kube-dns", live.Labels["k8s-app"])
			require.Equal(t, "yes", live.Labels["mine"])
			require.Len(t, live.Spec.Ports, 2)
			require.Equal(t, first.UID, live.UID)
		}, patience, 20*time.Millisecond)
	})
	t.Run("what is deleted comes again", func(t *testing.T) {
		require.NoError(t, services.Delete(t.Context(), dns.ServiceName, metav1.DeleteOptions{}))
		require.NoError(t, w.virtual.DiscoveryV1().EndpointSlices(dns.ServiceNamespace).Delete(t.Context(), dns.ServiceName, metav1.DeleteOptions{}))
		require.EventuallyWithT(t, func(t *assert.CollectT) {
			live, err := services.Get(context.Background(), dns.ServiceName, metav1.GetOptions{})
			require.NoError(t, err)
			require.NotEqual(t, first.UID, live.UID)
			require.Equal(t, serviceIP, live.Spec.ClusterIP)
			_, err = w.virtual.DiscoveryV1().EndpointSlices(dns.ServiceNamespace).Get(context.Background(), dns.ServiceName, metav1.GetOptions{})
			require.NoError(t, err)
		}, patience, 20*time.Millisecond)
	})
	t.Run("at rest nothing is written", func(t *testing.T) {
		before, err := services.Get(t.Context(), dns.ServiceName, metav1.GetOptions{})
		require.NoError(t, err)
		// What comes of a change is over when a change after it shows.
		other := parse[corev1.Service](t, "{metadata: {name: rest}, spec: {clusterIP: None}}")
		_, err = w.virtual.CoreV1().Services("default").Create(t.Context(), &other, metav1.CreateOptions{})
		require.NoError(t, err)
		w.eventually(t, "A rest.default.svc.cluster.local", "NXDOMAIN")
		after, err := services.Get(t.Context(), dns.ServiceName, metav1.GetOptions{})
		require.NoError(t, err)
		require.Equal(t, before.ResourceVersion, after.ResourceVersion)
	})
}

// The tenant was without DNS before, and somebody made a Service of that name.
func TestAServiceOfTheNameWithAnotherAddressGivesWay(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *dns.Options) { o.Service = nil })
	require.NoError(t, w.stop())
	services := w.virtual.CoreV1().Services(dns.ServiceNamespace)
	theirs := parse[corev1.Service](t, "{metadata: {name: kube-dns}, spec: {clusterIP: 10.96.9.9, selector: {a: b}, ports: [{port: 53, protocol: UDP}]}}")
	_, err := services.Create(t.Context(), &theirs, metav1.CreateOptions{})
	require.NoError(t, err)
	w.serve(t, nil)
	w.eventually(t, "A kube-dns.kube-system.svc.cluster.local", "A "+serviceIP)
	live, err := services.Get(t.Context(), dns.ServiceName, metav1.GetOptions{})
	require.NoError(t, err)
	require.Empty(t, live.Spec.Selector)
}

func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	w := join(t, nil)
	config, err := w.api.API.ClientConfig(controlplane.DNSUser)
	require.NoError(t, err)
	own, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	for name, attempt := range map[string]func() error{
		"read Secrets": func() error {
			_, err := own.CoreV1().Secrets("kube-system").List(t.Context(), metav1.ListOptions{})
			return err
		},
		"read one pod": func() error {
			_, err := own.CoreV1().Pods("default").Get(t.Context(), "x", metav1.GetOptions{})
			return err
		},
		"change another Service": func() error {
			return own.CoreV1().Services("default").Delete(t.Context(), "kubernetes", metav1.DeleteOptions{})
		},
		"make another Service": func() error {
			service := parse[corev1.Service](t, "{metadata: {name: other}, spec: {ports: [{port: 80}]}}")
			_, err := own.CoreV1().Services("kube-system").Create(t.Context(), &service, metav1.CreateOptions{})
			return err
		},
		"read nodes": func() error { _, err := own.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{}); return err },
	} {
		require.True(t, apierrors.IsForbidden(attempt()), name)
	}
}

// Nameservers that are not there, or come late.
func TestUpstream(t *testing.T) {
	t.Parallel()
	t.Run("without any, names of others are refused, and the cluster's resolve", func(t *testing.T) {
		t.Parallel()
		w := join(t, nil)
		require.Equal(t, "REFUSED", says(w.ask(t, "A www.example.org")))
		require.Equal(t, "REFUSED", says(w.ask(t, "PTR 1.1.1.10.in-addr.arpa")))
		require.Equal(t, "NXDOMAIN", says(w.ask(t, "A kubernetes.default.svc.host.example")))
		w.eventually(t, "A kubernetes.default.svc.cluster.local", "A 10.96.0.1") // the API server's, which takes its time
	})
	t.Run("a dead one is passed over", func(t *testing.T) {
		t.Parallel()
		w := join(t, func(o *dns.Options) { o.Upstream = []string{"127.0.0.1:1", nameserver(t, upstream)} })
		require.Equal(t, "A 192.0.2.80", says(w.ask(t, "A www.example.org")))
	})
	t.Run("a dead one alone is a failure, and soon", func(t *testing.T) {
		t.Parallel()
		w := join(t, func(o *dns.Options) { o.Upstream = []string{"127.0.0.1:1"} })
		begin := time.Now()
		query := new(miekg.Msg).SetQuestion("www.example.org.", miekg.TypeA)
		answer, _, err := (&miekg.Client{Timeout: patience}).ExchangeContext(t.Context(), query, w.server.Address())
		require.NoError(t, err)
		require.Equal(t, "SERVFAIL", says(answer))
		t.Logf("after %s", time.Since(begin))
	})
}

// It stops with all that it has started, and the port is free for the next.
func TestStopLeavesNothing(t *testing.T) {
	w := join(t, nil)
	require.NoError(t, w.stop())
	require.Empty(t, goroutines())
	w.serve(t, func(o *dns.Options) { o.Upstream = []string{nameserver(t, upstream)} })
	require.Equal(t, "A 192.0.2.80", says(w.ask(t, "A www.example.org")))
	require.Equal(t, "A 192.0.2.80", says(w.ask(t, "tcp A www.example.org")))
	address := w.server.Address()
	open, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer open.Close()

	t.Run("and while it runs, nobody else has the port", func(t *testing.T) {
		_, port, err := net.SplitHostPort(address)
		require.NoError(t, err)
		number, err := strconv.Atoi(port)
		require.NoError(t, err)
		config, err := w.api.API.ClientConfig(controlplane.DNSUser)
		require.NoError(t, err)
		second, err := dns.New(dns.Options{Virtual: config, BindAddress: net.IPv4(127, 0, 0, 1), Port: number})
		require.NoError(t, err)
		require.EqualError(t, second.Run(t.Context(), func() {}), "address "+address+" is in use by another process")
	})

	begin := time.Now()
	require.NoError(t, w.stop())
	require.Less(t, time.Since(begin), 5*time.Second, "an idle connection holds it up")
	t.Logf("stopped after %s", time.Since(begin))
	require.Eventually(t, func() bool { return goroutines() == "" }, patience, 20*time.Millisecond)
}

// goroutines are the stacks of those that the DNS has started.
func goroutines() string {
	stacks := make([]byte, 8<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var out []string
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(stack, "github.com/coredns/") || strings.Contains(stack, "nestling/pkg/dns.") {
			out = append(out, stack)
		}
	}
	return strings.Join(out, "\n\n")
}
