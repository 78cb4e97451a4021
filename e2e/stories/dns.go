package stories

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/e2e/addon/nameserver"
	"nestling.dev/nestling/e2e/dnsload"
	"nestling.dev/nestling/syncer/naming"
)

// names are what the tenant's own DNS knows, and what it asks others.
func names() []Story {
	return []Story{
		{Name: "every record of the DNS specification resolves", Run: everyRecord},
		{Name: "a StatefulSet's names resolve in the first second of its pods' readiness", Alone: true, Run: firstSecond},
		{Name: "the world's names and a company's resolve, the host's and another tenant's do not", Run: othersNames},
		{Name: "a pod finds others by the names that its search path makes", Real: true, Run: searchPath},
		{Name: "the tenant's metrics tell of its DNS, and go on telling of requests to APIs", Run: namesMetrics},
		{Name: "DNS loses none of 1000 queries a second", Alone: true, Run: noneLost},
		{Name: "names resolve while the host's API is away", Alone: true, Run: namesInOutage},
		{Name: "names resolve soon after the control plane was killed", Alone: true, Run: namesAfterCrash},
	}
}

// HostNames is what the DNS of the host's cluster says, which is the upstream of tenants
// unless they are told others: its own names, and the world's. apiIP is that of the host's
// default/kubernetes.
func HostNames(apiIP string) (zone string, err error) {
	reverse, err := dns.ReverseAddr(apiIP)
	return `
www.example.org. 60 A 192.0.2.80
www.example.org. 60 AAAA 2001:db8::80
80.2.0.192.in-addr.arpa. 60 PTR www.example.org.
intranet.corp.example. 60 A 192.0.2.99
upstream.default.svc.cluster.local. 5 A 10.96.0.99
leak.example.org. 60 CNAME upstream.default.svc.cluster.local.
` + reverse + ` 5 PTR kubernetes.default.svc.cluster.local.
`, err
}

// CorpNames is what the nameserver of the stub domain corp.example says.
const CorpNames = `
intranet.corp.example. 60 A 192.0.2.1
`

// dnsOf is where a test asks a tenant's DNS.
func dnsOf(t *testing.T, w *World, tenant *Tenant) string {
	t.Helper()
	if w.DNSAddress != nil {
		return w.DNSAddress(tenant.Name)
	}
	return net.JoinHostPort(dnsIP(t, tenant), "53")
}

// dnsIP is what the tenant takes for the address of its DNS.
func dnsIP(t *testing.T, tenant *Tenant) string {
	t.Helper()
	service, err := tenant.Client.CoreV1().Services("kube-system").Get(t.Context(), "kube-dns", metav1.GetOptions{})
	require.NoError(t, err)
	return service.Spec.ClusterIP
}

// resolves waits until a question, TYPE NAME, has its answer.
func resolves(t *testing.T, server, question, want string) {
	t.Helper()
	eventually(t, question+" to be "+want, func(ctx context.Context) (bool, string) {
		answer, err := nameserver.Ask(ctx, server, question)
		if err != nil {
			return false, err.Error()
		}
		return nameserver.Says(answer) == want, nameserver.Says(answer)
	})
}

// reverse is the question for the name of an address.
func reverse(t *testing.T, ip string) string {
	t.Helper()
	name, err := dns.ReverseAddr(ip)
	require.NoError(t, err)
	return "PTR " + name
}

const shop = `
- metadata: {name: web}
  spec: {selector: {app: db}, ports: [{name: http, port: 80, targetPort: 8080}]}
- metadata: {name: db}
  spec: {clusterIP: None, selector: {app: db}, ports: [{name: sql, port: 5432}]}
- metadata: {name: early}
  spec: {clusterIP: None, publishNotReadyAddresses: true, selector: {app: gated}, ports: [{name: http, port: 80}]}
- metadata: {name: late}
  spec: {clusterIP: None, selector: {app: gated}, ports: [{name: http, port: 80}]}
- metadata: {name: outside}
  spec: {type: ExternalName, externalName: www.example.org}
`

func makeShop(t *testing.T, w *World, space string) map[string]*corev1.Service {
	t.Helper()
	out := map[string]*corev1.Service{}
	for _, service := range *decode[[]corev1.Service](t, w, shop) {
		made, err := w.A.Client.CoreV1().Services(space).Create(t.Context(), &service, metav1.CreateOptions{})
		require.NoError(t, err)
		out[made.Name] = made
	}
	_, err := w.A.Client.AppsV1().StatefulSets(space).Create(t.Context(), decode[appsv1.StatefulSet](t, w, `
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: main, image: IMAGE, command: [agnhost, netexec, --http-port=8080]}]
`), metav1.CreateOptions{})
	require.NoError(t, err)
	return out
}

func everyRecord(t *testing.T, w *World) {
	space := namespace(t, w.A, "names")
	server := dnsOf(t, w, w.A)
	made := makeShop(t, w, space)
	first, second := waitPod(t, w.A, space, "db-0", "is ready", isReady), waitPod(t, w.A, space, "db-1", "is ready", isReady)
	service := func(name string) string { return name + "." + space + ".svc.cluster.local" }
	dashed := func(ip string) string { return strings.ReplaceAll(ip, ".", "-") }
	both := []string{"A " + first.Status.PodIP, "A " + second.Status.PodIP}
	slices.Sort(both)
	wanted := map[string]string{
		"A " + service("web"):                  "A " + made["web"].Spec.ClusterIP,
		"tcp A " + service("web"):              "A " + made["web"].Spec.ClusterIP,
		"AAAA " + service("web"):               "",
		"SRV _http._tcp." + service("web"):     "SRV 0 100 80 " + service("web") + ".",
		reverse(t, made["web"].Spec.ClusterIP): "PTR " + service("web") + ".",
		"A " + service("db"):                   strings.Join(both, "; "),
		"A db-0." + service("db"):              "A " + first.Status.PodIP,
		"SRV _sql._tcp." + service("db"):       "SRV 0 50 5432 db-0." + service("db") + ".; SRV 0 50 5432 db-1." + service("db") + ".",
		"A " + service("outside"):              "A 192.0.2.80; CNAME www.example.org.",
		"A " + dashed(first.Status.PodIP) + "." + space + ".pod.cluster.local": "A " + first.Status.PodIP,
		"A " + dashed(first.Status.PodIP) + ".default.pod.cluster.local":       "NXDOMAIN",
		"A kubernetes.default.svc.cluster.local":                               "A " + clusterIP(t, w.A, "default", "kubernetes"),
		reverse(t, clusterIP(t, w.A, "default", "kubernetes")):                 "PTR kubernetes.default.svc.cluster.local.",
		"A kube-dns.kube-system.svc.cluster.local":                             "A " + dnsIP(t, w.A),
		"TXT dns-version.cluster.local":                                        `TXT "1.1.0"`,
		"NS cluster.local":                                                     "NS kube-dns.kube-system.svc.cluster.local.",
		"A nothing." + space + ".svc.cluster.local":                            "NXDOMAIN",
	}
	if w.Real { // a simulated kubelet knows no gates
		gated := createPod(t, w, w.A, space, `
metadata: {name: gated, labels: {app: gated}}
spec: {readinessGates: [{conditionType: example.com/never}], hostname: one, subdomain: early, containers: [{name: main, image: IMAGE}]}
`)
		gated = waitPod(t, w.A, space, gated.Name, "runs", func(pod *corev1.Pod) bool { return pod.Status.Phase == corev1.PodRunning && pod.Status.PodIP != "" })
		wanted["A "+service("early")] = "A " + gated.Status.PodIP
		wanted["A one."+service("early")] = "A " + gated.Status.PodIP
		wanted["A "+service("late")] = "NXDOMAIN"
	}
	for question, want := range wanted {
		resolves(t, server, question, want)
	}
	// The tenant's DNS needs one host Service, which came with the tenant.
	own, err := w.Host.CoreV1().Services(w.HostNamespace).Get(t.Context(), w.A.Name+"-dns", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, dnsIP(t, w.A), own.Spec.ClusterIP)
	for _, resource := range []string{"services", "endpoints"} {
		err := w.Host.CoreV1().RESTClient().Get().Namespace(w.HostNamespace).Resource(resource).Name(naming.Host(w.A.Name, "kube-system", "kube-dns")).Do(t.Context()).Error()
		require.True(t, apierrors.IsNotFound(err), "%s: %v", resource, err)
	}
	// An address has as many names as headless Services that it is behind; the first is told.
	eventually(t, "a name of db-1's address", func(ctx context.Context) (bool, string) {
		answer, err := nameserver.Ask(ctx, server, reverse(t, second.Status.PodIP))
		if err != nil {
			return false, err.Error()
		}
		return strings.Contains(nameserver.Says(answer), "db-1."+service("db")+"."), nameserver.Says(answer)
	})
}

func clusterIP(t *testing.T, tenant *Tenant, namespace, name string) string {
	t.Helper()
	service, err := tenant.Client.CoreV1().Services(namespace).Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	return service.Spec.ClusterIP
}

// firstSecond has somebody ask all along, before there is anything: no denial may be kept.
func firstSecond(t *testing.T, w *World) {
	space := namespace(t, w.A, "first")
	server := dnsOf(t, w, w.A)
	const replicas = 3
	_, err := w.A.Client.CoreV1().Services(space).Create(t.Context(), decode[corev1.Service](t, w,
		"{metadata: {name: web}, spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}}"), metav1.CreateOptions{})
	require.NoError(t, err)
	name := func(i int) string { return "web-" + string(rune('0'+i)) }
	resolved := make(chan map[string]time.Time, 1)
	var stall time.Duration // the longest time between two questions: the machine's, not the DNS's
	asking, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	go func() {
		at := map[string]time.Time{}
		last := time.Now()
		for len(at) < replicas && asking.Err() == nil {
			for i := range replicas {
				if _, done := at[name(i)]; done {
					continue
				}
				answer, err := nameserver.Ask(asking, server, "A "+name(i)+".web."+space+".svc.cluster.local")
				now := time.Now()
				stall, last = max(stall, now.Sub(last)), now
				if err == nil && strings.HasPrefix(nameserver.Says(answer), "A ") {
					at[name(i)] = time.Now()
				}
			}
			<-time.After(5 * time.Millisecond) // a client's pace
		}
		resolved <- at
	}()
	podWatch, err := w.A.Client.CoreV1().Pods(space).Watch(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	defer podWatch.Stop()
	sliceWatch, err := w.A.Client.DiscoveryV1().EndpointSlices(space).Watch(t.Context(), metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=web"})
	require.NoError(t, err)
	defer sliceWatch.Stop()
	_, err = w.A.Client.AppsV1().StatefulSets(space).Create(t.Context(), decode[appsv1.StatefulSet](t, w, `
metadata: {name: web}
spec:
  serviceName: web
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: IMAGE}]}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	ready, behind := map[string]time.Time{}, map[string]time.Time{}
	first := func(seen map[string]time.Time, pod string) {
		if seen[pod].IsZero() {
			seen[pod] = time.Now()
		}
	}
	for len(ready) < replicas || len(behind) < replicas {
		select {
		case event, open := <-podWatch.ResultChan():
			require.True(t, open, "the watch ended")
			if pod, ok := event.Object.(*corev1.Pod); ok && isReady(pod) {
				first(ready, pod.Name)
			}
		case event, open := <-sliceWatch.ResultChan():
			require.True(t, open, "the watch ended")
			if slice, ok := event.Object.(*discoveryv1.EndpointSlice); ok {
				for _, endpoint := range slice.Endpoints {
					if endpoint.Conditions.Ready != nil && *endpoint.Conditions.Ready {
						first(behind, endpoint.TargetRef.Name)
					}
				}
			}
		case <-asking.Done():
			require.Fail(t, "the pods did not get ready", "%v; behind the Service: %v", ready, behind)
		}
	}
	at := <-resolved
	require.Len(t, at, replicas)
	slowestSince := func(seen map[string]time.Time) (slowest time.Duration) {
		for pod, since := range seen {
			slowest = max(slowest, at[pod].Sub(since))
		}
		return slowest
	}
	slowest := slowestSince(ready)
	w.Report(fmt.Sprintf("A StatefulSet's names resolved at most %s after its pods were seen ready (answers came at most %s apart)",
		slowest.Round(time.Millisecond), stall.Round(time.Millisecond)))
	// How soon a pod that is ready comes behind its Service is up to the tenant's controller.
	require.Less(t, slowestSince(behind), time.Second+stall)
}

func othersNames(t *testing.T, w *World) {
	server := dnsOf(t, w, w.A)
	space := namespace(t, w.B, "neighbour")
	theirs, err := w.B.Client.CoreV1().Services(space).Create(t.Context(), decode[corev1.Service](t, w,
		"{metadata: {name: web}, spec: {ports: [{port: 80}]}}"), metav1.CreateOptions{})
	require.NoError(t, err)
	resolves(t, dnsOf(t, w, w.B), "A web."+space+".svc.cluster.local", "A "+theirs.Spec.ClusterIP)
	host, err := w.Host.CoreV1().Services("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
	require.NoError(t, err)
	for question, want := range map[string]string{
		"A www.example.org":                                            "A 192.0.2.80",
		"tcp AAAA www.example.org":                                     "AAAA 2001:db8::80",
		reverse(t, "192.0.2.80"):                                       "PTR www.example.org.",
		"A intranet.corp.example":                                      "A 192.0.2.1",
		"A web." + space + ".svc.cluster.local":                        "NXDOMAIN",
		reverse(t, theirs.Spec.ClusterIP):                              "NXDOMAIN",
		"A upstream.default.svc.cluster.local":                         "NXDOMAIN",
		"A leak.example.org":                                           "NXDOMAIN",
		reverse(t, host.Spec.ClusterIP):                                "NXDOMAIN",
		"A " + w.A.Name + "." + w.HostNamespace + ".svc.cluster.local": "NXDOMAIN",
	} {
		resolves(t, server, question, want)
	}
}

// searchPath asks as programs do: by the C library, by Go's resolver, by busybox's.
func searchPath(t *testing.T, w *World) {
	space := namespace(t, w.A, "search")
	made := makeShop(t, w, space)
	client := runPod(t, w, w.A, space, "{metadata: {name: client}, spec: {containers: [{name: main, image: IMAGE}]}}")
	resolver := shell(t, w.A, client, "", "cat /etc/resolv.conf")
	require.Contains(t, resolver, "nameserver "+dnsIP(t, w.A)+"\n")
	require.Contains(t, resolver, "search "+space+".svc.cluster.local svc.cluster.local cluster.local\n")
	require.Contains(t, resolver, "ndots:5")
	require.Equal(t, 1, strings.Count(resolver, "nameserver "), resolver)
	for _, name := range []string{"db-0", "db-1"} {
		waitPod(t, w.A, space, name, "is ready", isReady)
	}
	for _, name := range []string{"web", "web." + space, "web." + space + ".svc", "web." + space + ".svc.cluster.local", "web." + space + ".svc.cluster.local."} {
		eventually(t, "http://"+name, func(ctx context.Context) (bool, string) {
			out, err := tryShell(ctx, w.A, client, "", "curl -sS -m 5 http://"+name+"/hostname")
			return err == nil && strings.HasPrefix(out, "db-"), out + errText(err)
		})
	}
	eventuallyShell(t, w.A, client, "curl -sS -m 5 http://db-1.db:8080/hostname", "db-1")
	eventuallyShell(t, w.A, client, "curl -sS -m 5 http://db-0.db."+space+".svc:8080/hostname", "db-0")
	// Go's own resolver.
	eventuallyShell(t, w.A, client, "agnhost connect --timeout=5s web."+space+":80 && echo connected", "connected")
	eventuallyShell(t, w.A, client, "curl -sSk -m 5 https://kubernetes.default/version | grep -o gitVersion", "gitVersion")
	for question, want := range map[string]string{
		"srv _http._tcp.web." + space + ".svc.cluster.local":                        "0 100 80 web." + space + ".svc.cluster.local",
		"ptr " + strings.TrimPrefix(reverse(t, made["web"].Spec.ClusterIP), "PTR "): "name = web." + space + ".svc.cluster.local",
		"a outside." + space + ".svc.cluster.local":                                 "Address: 192.0.2.80",
		"a www.example.org": "Address: 192.0.2.80",
	} {
		kind, name, _ := strings.Cut(question, " ")
		eventually(t, "nslookup: "+question, func(ctx context.Context) (bool, string) {
			out, err := tryShell(ctx, w.A, client, "", "nslookup -type="+kind+" "+name)
			return err == nil && strings.Contains(out, want), out + errText(err)
		})
	}
	eventually(t, "no name of the host's", func(ctx context.Context) (bool, string) {
		out, err := tryShell(ctx, w.A, client, "", "nslookup upstream.default.svc.cluster.local")
		return err != nil && strings.Contains(out, "NXDOMAIN"), out + errText(err)
	})
}

// namesMetrics are CoreDNS's. Its plugin for Kubernetes would take over the hooks by which
// client-go counts requests, of which there is one set in a process.
func namesMetrics(t *testing.T, w *World) {
	resolves(t, dnsOf(t, w, w.A), "A kubernetes.default.svc.cluster.local", "A "+clusterIP(t, w.A, "default", "kubernetes"))
	metrics, err := w.A.Client.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	require.NoError(t, err)
	require.Contains(t, string(metrics), "\nrest_client_requests_total{")
	require.Contains(t, string(metrics), `coredns_dns_requests_total{family="1",proto="udp",server="dns",type="A",view="",zone="cluster.local."}`)
	require.NotContains(t, string(metrics), "\ncoredns_kubernetes_rest_client_requests_total{")
}

// loadTime is a minute in the benchmark.
const loadTime = 5 * time.Second

// noneLost asks from a tenant's pod, where there are any.
func noneLost(t *testing.T, w *World) {
	var dial func(ctx context.Context, network, address string) (net.Conn, error)
	if w.Real {
		space := namespace(t, w.A, "load")
		pod := hostPodOf(t, w, w.A, runPod(t, w, w.A, space, "{metadata: {name: client}, spec: {containers: [{name: main, image: '"+agnhostImage+"'}]}}"))
		dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			return w.DialFrom(ctx, pod, network, address)
		}
	}
	result, err := dnsload.Run(t.Context(), dnsload.Load{
		Dial:   dial,
		Server: dnsOf(t, w, w.A), Rate: 1000, Duration: loadTime,
		Questions: []dnsload.Question{
			{Name: "kubernetes.default.svc.cluster.local", Type: dns.TypeA},
			{Name: "kube-dns.kube-system.svc.cluster.local", Type: dns.TypeA},
			{Name: "_dns._udp.kube-dns.kube-system.svc.cluster.local", Type: dns.TypeSRV},
			{Name: "www.example.org", Type: dns.TypeA},
		},
	})
	require.NoError(t, err)
	w.Report("DNS: " + result.String())
	require.Zero(t, result.Lost)
	require.Zero(t, result.Wrong)
	require.Equal(t, 1000*int(loadTime/time.Second), result.Sent)
}

func namesInOutage(t *testing.T, w *World) {
	server, want := dnsOf(t, w, w.A), "A "+clusterIP(t, w.A, "default", "kubernetes")
	require.NoError(t, w.StopHostAPI(t.Context()))
	defer func() { require.NoError(t, w.StartHostAPI(context.WithoutCancel(t.Context()))) }()
	for range 50 {
		var answer *dns.Msg
		var err error
		for range 3 { // as resolvers do: a packet may be lost on any network
			if answer, err = nameserver.Ask(t.Context(), server, "A kubernetes.default.svc.cluster.local"); err == nil {
				break
			}
		}
		require.NoError(t, err)
		require.Equal(t, want, nameserver.Says(answer))
		<-time.After(20 * time.Millisecond) // for the outage to be noticed
	}
	// Services of the tenant's own that need nothing of the host.
	space := "outage-names"
	_, err := w.A.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: space}}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = w.A.Client.CoreV1().Namespaces().Delete(context.Background(), space, metav1.DeleteOptions{})
	})
	_, err = w.A.Client.CoreV1().Services(space).Create(t.Context(), decode[corev1.Service](t, w,
		"{metadata: {name: alias}, spec: {type: ExternalName, externalName: kubernetes.default.svc.cluster.local}}"), metav1.CreateOptions{})
	require.NoError(t, err)
	resolves(t, server, "A alias."+space+".svc.cluster.local", want+"; CNAME kubernetes.default.svc.cluster.local.")
}

func namesAfterCrash(t *testing.T, w *World) {
	server, want := dnsOf(t, w, w.A), "A "+clusterIP(t, w.A, "default", "kubernetes")
	begin := time.Now()
	require.NoError(t, w.Kill(t.Context(), w.A.Name))
	const short = 300 * time.Millisecond // what is lost while nobody listens would be waited for in vain
	eventually(t, "names after a kill", func(ctx context.Context) (bool, string) {
		ctx, cancel := context.WithTimeout(ctx, short)
		defer cancel()
		answer, err := nameserver.Ask(ctx, server, "A kubernetes.default.svc.cluster.local")
		return err == nil && nameserver.Says(answer) == want, errText(err)
	})
	w.Report("Names resolved again " + time.Since(begin).Round(10*time.Millisecond).String() + " after a kill of the control plane")
	eventually(t, "the tenant's API after a kill", func(ctx context.Context) (bool, string) {
		err := w.A.Client.CoreV1().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
		return err == nil, errText(err)
	})
}
