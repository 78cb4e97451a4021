package stories

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"nestling.dev/nestling/pkg/dns"
)

const services = `
- metadata: {name: web}
  spec: {clusterIP: 10.96.1.2, ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}]}
- metadata: {name: db}
  spec: {clusterIP: None, ports: [{name: sql, port: 5432}]}
- metadata: {name: portless}
  spec: {clusterIP: None}
- metadata: {name: empty}
  spec: {clusterIP: None, ports: [{port: 80}]}
- metadata: {name: outside}
  spec: {type: ExternalName, externalName: www.example.org}
- metadata: {name: alias}
  spec: {type: ExternalName, externalName: web.shop.svc.cluster.local}
- metadata: {name: trespasser}
  spec: {type: ExternalName, externalName: db.default.svc.host.example}
`

// What the endpoint slice controller would make; db-1 is not ready.
const endpointSlices = `
- metadata: {name: db-a, labels: {kubernetes.io/service-name: db}}
  addressType: IPv4
  endpoints:
  - {addresses: [10.244.0.5], hostname: db-0, conditions: {ready: true}, targetRef: {kind: Pod, name: db-0}}
  - {addresses: [10.244.0.6], hostname: db-1, conditions: {ready: false}}
  - {addresses: [10.244.0.7], conditions: {ready: true}}
  ports: [{name: sql, port: 5432, protocol: TCP}]
- metadata: {name: db-b, labels: {kubernetes.io/service-name: db}}
  addressType: IPv6
  endpoints: [{addresses: ["fd00::5"], hostname: db-0, conditions: {ready: true}}]
  ports: [{name: sql, port: 5432, protocol: TCP}]
- metadata: {name: portless-a, labels: {kubernetes.io/service-name: portless}}
  addressType: IPv4
  endpoints: [{addresses: [10.244.0.8], conditions: {ready: true}}]
- metadata: {name: web-a, labels: {kubernetes.io/service-name: web}}
  addressType: IPv4
  endpoints: [{addresses: [10.244.0.5], conditions: {ready: true}}]
  ports: [{name: http, port: 8080, protocol: TCP}, {name: dns, port: 1053, protocol: UDP}]
`

// The host's cluster DNS, most often the upstream: it knows its own cluster, which is called
// cluster.local or host.example, and asks the world for the rest.
const upstream = `
www.example.org. 60 A 192.0.2.80
www.example.org. 60 AAAA 2001:db8::80
mail.example.org. 60 MX 10 mx.example.org.
9.2.0.192.in-addr.arpa. 60 PTR nine.example.org.
kubernetes.default.svc.host.example. 5 A 10.96.0.1
host.example. 5 SOA ns.dns.host.example. root.host.example. 1 1 1 1 1
_http._tcp.shop.example. 60 SRV 0 10 80 db.default.svc.HOST.example.
db.default.svc.cluster.local. 5 A 10.96.0.9
1.0.96.10.in-addr.arpa. 5 PTR kubernetes.default.svc.cluster.local.
2.0.96.10.in-addr.arpa. 5 PTR db.default.svc.host.example.
9.9.244.10.in-addr.arpa. 5 PTR 10-244-9-9.db.other-tenant.svc.cluster.local.
back.example.org. 60 CNAME kubernetes.default.svc.cluster.local.
deleg.example.org. 60 NS ns.svc.cluster.local.
intranet.corp.example. 60 A 192.0.2.99
`

// answers are those that the specification wants, by its sections, and what it leaves open.
func answers() map[string]map[string]string {
	return map[string]map[string]string{
		"2.2 the version of the schema": {
			"TXT dns-version.cluster.local": `TXT "1.1.0"`,
		},
		"2.3 a Service with an address": {
			"A web.shop.svc.cluster.local":                         "A 10.96.1.2",
			"A WEB.Shop.SVC.cluster.local":                         "A 10.96.1.2",
			"tcp A web.shop.svc.cluster.local":                     "A 10.96.1.2",
			"AAAA web.shop.svc.cluster.local":                      "",
			"MX web.shop.svc.cluster.local":                        "",
			"SRV _http._tcp.web.shop.svc.cluster.local":            "SRV 0 100 80 web.shop.svc.cluster.local.",
			"SRV _dns._udp.web.shop.svc.cluster.local":             "SRV 0 100 53 web.shop.svc.cluster.local.",
			"SRV _dns._tcp.web.shop.svc.cluster.local":             "NXDOMAIN",
			"PTR 2.1.96.10.in-addr.arpa":                           "PTR web.shop.svc.cluster.local.",
			"A kubernetes.default.svc.cluster.local":               "A 10.96.0.1",
			"SRV _https._tcp.kubernetes.default.svc.cluster.local": "SRV 0 100 443 kubernetes.default.svc.cluster.local.",
			"PTR 1.0.96.10.in-addr.arpa":                           "PTR kubernetes.default.svc.cluster.local.",
			"A kube-dns.kube-system.svc.cluster.local":             "A " + serviceIP,
			"PTR 53.0.96.10.in-addr.arpa":                          "PTR kube-dns.kube-system.svc.cluster.local.",
		},
		"2.4 a headless Service": {
			"A db.shop.svc.cluster.local":                                                  "A 10.244.0.5; A 10.244.0.7",
			"AAAA db.shop.svc.cluster.local":                                               "AAAA fd00::5",
			"A db-0.db.shop.svc.cluster.local":                                             "A 10.244.0.5",
			"AAAA db-0.db.shop.svc.cluster.local":                                          "AAAA fd00::5",
			"A db-1.db.shop.svc.cluster.local":                                             "NXDOMAIN", // not ready
			"A 10-244-0-7.db.shop.svc.cluster.local":                                       "A 10.244.0.7",
			"SRV _sql._tcp.db.shop.svc.cluster.local":                                      "SRV 0 33 5432 10-244-0-7.db.shop.svc.cluster.local.; SRV 0 33 5432 db-0.db.shop.svc.cluster.local.",
			"PTR 7.0.244.10.in-addr.arpa":                                                  "PTR 10-244-0-7.db.shop.svc.cluster.local.",
			"PTR 6.0.244.10.in-addr.arpa":                                                  "NXDOMAIN",
			"PTR 5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa": "PTR db-0.db.shop.svc.cluster.local.",
			"A portless.shop.svc.cluster.local":                                            "A 10.244.0.8",
			"A empty.shop.svc.cluster.local":                                               "NXDOMAIN",
		},
		"2.5 a name of something outside": {
			"CNAME outside.shop.svc.cluster.local": "CNAME www.example.org.",
			"A outside.shop.svc.cluster.local":     "A 192.0.2.80; CNAME www.example.org.",
			"AAAA outside.shop.svc.cluster.local":  "AAAA 2001:db8::80; CNAME www.example.org.",
			"A alias.shop.svc.cluster.local":       "A 10.96.1.2; CNAME web.shop.svc.cluster.local.",
			"A trespasser.shop.svc.cluster.local":  "CNAME db.default.svc.host.example.",
		},
		"pods": {
			"A 10-244-0-5.shop.pod.cluster.local":    "A 10.244.0.5",
			"A 10-244-0-5.default.pod.cluster.local": "NXDOMAIN", // of another namespace
			"A 10-244-0-6.shop.pod.cluster.local":    "NXDOMAIN", // over
			"A 10-244-7-7.shop.pod.cluster.local":    "NXDOMAIN", // nobody's
			"A 10-96-0-1.default.pod.cluster.local":  "NXDOMAIN",
		},
		"what there is not": {
			"A svc.cluster.local":                                 "",
			"A shop.svc.cluster.local":                            "",
			"A nobody.svc.cluster.local":                          "NXDOMAIN",
			"A nothing.shop.svc.cluster.local":                    "NXDOMAIN",
			"A nothing.cluster.local":                             "NXDOMAIN",
			"A a.b.c.d.web.shop.svc.cluster.local":                "NXDOMAIN",
			"A web.shop.svc.cluster.local.shop.svc.cluster.local": "NXDOMAIN", // a search path at work
			"AXFR cluster.local":                                  "REFUSED",
		},
		"who serves": {
			"NS cluster.local":       "NS kube-dns.kube-system.svc.cluster.local.",
			"A ns.dns.cluster.local": "A " + serviceIP,
		},
		"the rest of the world": {
			"A www.example.org":          "A 192.0.2.80",
			"tcp AAAA www.example.org":   "AAAA 2001:db8::80",
			"MX mail.example.org":        "MX 10 mx.example.org.",
			"PTR 9.2.0.192.in-addr.arpa": "PTR nine.example.org.",
			"A nothing.example.org":      "NXDOMAIN",
			"A intranet.corp.example":    "A 192.0.2.1", // the stub's answer, not the upstream's
			"PTR 7.2.0.192.in-addr.arpa": "PTR seven.corp.example.",
			"A deep.down.corp.example":   "A 192.0.2.2",
		},
		"names of the host": {
			"A kubernetes.default.svc.host.example": "NXDOMAIN",
			"SOA host.example":                      "NXDOMAIN",
			"SOA HOST.EXAMPLE":                      "NXDOMAIN",
			"A db.default.svc.cluster.local":        "NXDOMAIN",
			"PTR 2.0.96.10.in-addr.arpa":            "NXDOMAIN",
			"PTR 9.9.244.10.in-addr.arpa":           "NXDOMAIN",
			"SRV _http._tcp.shop.example":           "NXDOMAIN",
			"A back.example.org":                    "NXDOMAIN",
			"NS deleg.example.org":                  "NXDOMAIN",
		},
	}
}

func TestEveryRecordOfTheSpecification(t *testing.T) {
	t.Parallel()
	others, corp := nameserver(t, upstream), nameserver(t, `
intranet.corp.example. 60 A 192.0.2.1
deep.down.corp.example. 60 A 192.0.2.2
7.2.0.192.in-addr.arpa. 60 PTR seven.corp.example.
`)
	w := start(t, func(o *dns.Options) {
		o.Upstream = []string{others}
		o.StubDomains = map[string][]string{"corp.example": {corp}, "7.2.0.192.in-addr.arpa": {corp}}
	})
	populate(t, w)
	w.eventually(t, "A 10-244-0-5.shop.pod.cluster.local", "A 10.244.0.5") // made last
	w.eventually(t, "PTR 53.0.96.10.in-addr.arpa", "PTR kube-dns.kube-system.svc.cluster.local.")
	for point, table := range answers() {
		t.Run(point, func(t *testing.T) {
			for question, want := range table {
				require.Equal(t, want, says(w.ask(t, question)), question)
			}
		})
	}
	t.Run("the addresses of what SRV and NS name come along", func(t *testing.T) {
		require.Equal(t, "A 10.96.1.2", describe(w.ask(t, "SRV _http._tcp.web.shop.svc.cluster.local").Extra))
		require.Equal(t, "A 10.244.0.5; A 10.244.0.7; AAAA fd00::5", describe(w.ask(t, "SRV _sql._tcp.db.shop.svc.cluster.local").Extra))
		require.Equal(t, "A "+serviceIP, describe(w.ask(t, "NS cluster.local").Extra))
	})
	t.Run("answers are authoritative and short-lived, denials not to be kept", func(t *testing.T) {
		answer := w.ask(t, "A web.shop.svc.cluster.local")
		require.True(t, answer.Authoritative)
		require.EqualValues(t, 5, answer.Answer[0].Header().Ttl)
		for _, question := range []string{"A nothing.shop.svc.cluster.local", "AAAA web.shop.svc.cluster.local"} {
			denial := w.ask(t, question)
			require.Len(t, denial.Ns, 1, question)
			require.Regexp(t, `\t0\tIN\tSOA\tns.dns.cluster.local. .* 0$`, denial.Ns[0].String())
		}
	})
	t.Run("clients do not all get the same address first", func(t *testing.T) {
		seen := map[string]bool{}
		require.Eventually(t, func() bool {
			seen[w.ask(t, "A db.shop.svc.cluster.local").Answer[0].String()] = true
			return len(seen) == 2
		}, patience, time.Millisecond)
	})
}

// The asker, 127.0.0.1, is a pod: elsewhere kubelet writes its name into its /etc/hosts. There
// is no Service of the name.
func TestAPodKnowsItsOwnName(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	populate(t, w)
	pod(t, w, "web-0", "127.0.0.1", corev1.PodPending, func(spec *corev1.PodSpec) { spec.Hostname, spec.Subdomain = "first", "nowhere" })
	w.eventually(t, "A first.nowhere.shop.svc.cluster.local", "A 127.0.0.1")
	for question, want := range map[string]string{
		"AAAA first.nowhere.shop.svc.cluster.local": "",
		"A web-0.nowhere.shop.svc.cluster.local":    "NXDOMAIN",
		"A first.nowhere.default.svc.cluster.local": "NXDOMAIN",
		"A web.shop.svc.cluster.local":              "A 10.96.1.2",
	} {
		require.Equal(t, want, says(w.ask(t, question)), question)
	}
}

// Where an operator lets the host's names through, the tenant's come first.
func TestTheHostsNamesIfTheOperatorSaysSo(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *dns.Options) { o.Upstream, o.HostCluster = []string{nameserver(t, upstream)}, true })
	populate(t, w)
	w.eventually(t, "A 10-244-0-5.shop.pod.cluster.local", "A 10.244.0.5")
	for question, want := range map[string]string{
		"A kubernetes.default.svc.host.example": "A 10.96.0.1",
		"A db.default.svc.cluster.local":        "A 10.96.0.9", // the host's
		"A web.shop.svc.cluster.local":          "A 10.96.1.2",
		"PTR 2.0.96.10.in-addr.arpa":            "PTR db.default.svc.host.example.",
		"PTR 1.0.96.10.in-addr.arpa":            "PTR kubernetes.default.svc.cluster.local.",
		"A nothing.shop.svc.cluster.local":      "NXDOMAIN",
	} {
		require.Equal(t, want, says(w.ask(t, question)), question)
	}
}

func populate(t *testing.T, w *world) {
	t.Helper()
	_, err := w.virtual.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	for _, service := range parse[[]corev1.Service](t, services) {
		_, err := w.virtual.CoreV1().Services("shop").Create(t.Context(), &service, metav1.CreateOptions{})
		require.NoError(t, err, service.Name)
	}
	for _, slice := range parse[[]discoveryv1.EndpointSlice](t, endpointSlices) {
		_, err := w.virtual.DiscoveryV1().EndpointSlices("shop").Create(t.Context(), &slice, metav1.CreateOptions{})
		require.NoError(t, err, slice.Name)
	}
	w.eventually(t, "A kubernetes.default.svc.cluster.local", "A 10.96.0.1") // the API server's, which takes its time
	pod(t, w, "done", "10.244.0.6", corev1.PodSucceeded)
	pod(t, w, "db-0", "10.244.0.5", corev1.PodRunning)
}

// pod is one that a kubelet has started.
func pod(t *testing.T, w *world, name, ip string, phase corev1.PodPhase, configure ...func(*corev1.PodSpec)) {
	t.Helper()
	pods := w.virtual.CoreV1().Pods("shop")
	_, err := w.virtual.CoreV1().ServiceAccounts("shop").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "for-" + name}}, metav1.CreateOptions{})
	require.NoError(t, err)
	spec := corev1.PodSpec{
		ServiceAccountName: "for-" + name, AutomountServiceAccountToken: new(bool),
		Containers: []corev1.Container{{Name: "main", Image: "example.com/image"}},
	}
	for _, change := range configure {
		change(&spec)
	}
	pod, err := pods.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, metav1.CreateOptions{})
	require.NoError(t, err)
	pod.Status = corev1.PodStatus{Phase: phase, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}}
	_, err = pods.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{})
	require.NoError(t, err)
}

func parse[T any](t *testing.T, text string) T {
	t.Helper()
	var out T
	require.NoError(t, yaml.UnmarshalStrict([]byte(text), &out))
	return out
}
