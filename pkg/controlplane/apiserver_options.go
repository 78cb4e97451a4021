package controlplane

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/resourcequota"
	mutatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/mutating"
	"k8s.io/apiserver/pkg/server/healthz"
	genericoptions "k8s.io/apiserver/pkg/server/options"

	"nestling.dev/nestling/pkg/controlplane/activity"
	"nestling.dev/nestling/pkg/controlplane/apigroup"
	"nestling.dev/nestling/pkg/pki"
)

// AdmissionPlugin is an admission plugin compiled into the API server.
type AdmissionPlugin struct {
	Name string
	New  admission.Factory
}

// APIServerOptions configure one API server.
type APIServerOptions struct {
	EtcdEndpoint string      // "unix://…" of the etcd member
	PKI          *pki.Bundle // identity of the cluster
	Dir          string      // certificates and keys are written here: mode 0700, files 0600

	BindAddress net.IP       // default 0.0.0.0
	Port        int          // default 8443
	Listener    net.Listener // TCP, instead of BindAddress and Port, if set; Run closes it

	// AdvertiseAddress and the port become the endpoints of default/kubernetes.
	// It must be neither a loopback nor an unspecified address.
	AdvertiseAddress net.IP

	ServiceCIDR   string   // range of virtual ClusterIPs; default 10.0.0.0/16
	ServiceIP     net.IP   // of default/kubernetes, in ServiceCIDR; nil means its first
	ClusterDomain string   // default cluster.local
	SANs          []string // more names and IPs of the serving certificate; see SetSANs

	// Kubelet connects to the kubelet API of every node, whatever its address.
	// The kubelet's certificate is not verified; it sees a client certificate
	// of the cluster's authority. Nil dials the node's address, as upstream does.
	Kubelet func(ctx context.Context, network, address string) (net.Conn, error)

	// Outbound connects to what users name: webhooks, aggregated APIs, and pods and
	// Services by the API's proxies. Nil dials as upstream does.
	Outbound func(ctx context.Context, network, address string) (net.Conn, error)

	// MutatingLast are admission plugins that run after all other mutating
	// ones, webhooks included, in this order.
	MutatingLast []AdmissionPlugin

	// Groups are API groups of our own, served beside upstream's.
	Groups []apigroup.Group

	// ValidatingLast are admission plugins that run after all other validating ones,
	// webhooks included, but for the quota: upstream has it last, since it counts what
	// it lets pass.
	ValidatingLast []AdmissionPlugin

	// ReadyChecks extend /readyz. They do not delay the component's own ready.
	// Upstream publishes default/kubernetes, at its first start, only when all
	// of /readyz passes; so none of them may wait for that.
	ReadyChecks []healthz.HealthChecker

	// SettleTimeout is how long a stop waits for the end of a start: upstream's start hooks
	// end the process when they are interrupted. Default 5 s; a start takes about one.
	SettleTimeout time.Duration

	// Metrics serves /metrics in place of upstream's handler, if set.
	Metrics http.Handler

	// Passthrough is what upstream's own documents say: whom it knows, what it records, and
	// how it keeps things.
	Passthrough Passthrough

	// Activity learns of every request that is let in, if set.
	Activity *activity.Tracker

	// ExtraArgs are flags of kube-apiserver by name, without dashes. They win
	// over everything that the other options say.
	ExtraArgs map[string]string
}

// KubeletClientUser is who the API server is to a kubelet.
const KubeletClientUser = "nestling:apiserver-kubelet-client"

// shutdownWatchGrace is how long open watches may go on after a stop began.
// Upstream's default makes them hold the API server for 60 s; this leaves most
// of the 10 s within which the whole process has to stop.
const shutdownWatchGrace = "3s"

// complete fills in defaults and checks what upstream would not, or only late.
func (o APIServerOptions) complete() (APIServerOptions, error) {
	if o.BindAddress == nil {
		o.BindAddress = net.IPv4zero
	}
	if o.Port == 0 && o.Listener == nil {
		o.Port = 8443
	}
	if o.ServiceCIDR == "" {
		o.ServiceCIDR = "10.0.0.0/16"
	}
	if o.SettleTimeout == 0 {
		o.SettleTimeout = 5 * time.Second
	}
	if o.ClusterDomain == "" {
		o.ClusterDomain = "cluster.local"
	}
	switch {
	case o.EtcdEndpoint == "":
		return o, errors.New("apiserver: the etcd endpoint is missing")
	case o.PKI == nil:
		return o, errors.New("apiserver: the PKI is missing")
	case o.Dir == "":
		return o, errors.New("apiserver: the directory for certificates is missing")
	case o.AdvertiseAddress == nil || o.AdvertiseAddress.IsLoopback() || o.AdvertiseAddress.IsUnspecified():
		return o, fmt.Errorf("apiserver: advertise address %q is not an address that pods could reach", o.AdvertiseAddress)
	}
	primary, _, _ := strings.Cut(o.ServiceCIDR, ",")
	_, serviceRange, err := net.ParseCIDR(primary)
	if err != nil {
		return o, fmt.Errorf("apiserver: service range: %w", err)
	}
	if o.ServiceIP != nil && !serviceRange.Contains(o.ServiceIP) {
		return o, fmt.Errorf("apiserver: service IP %s is not in the service range %s", o.ServiceIP, primary)
	}
	return o, nil
}

// issuer of ServiceAccount tokens; it is their default audience, too.
func (o APIServerOptions) issuer() string { return "https://kubernetes.default.svc." + o.ClusterDomain }

// servingLeaf has every name under which the server is reached, more among them.
func (o APIServerOptions) servingLeaf(more []string) pki.Leaf {
	leaf := pki.Leaf{
		CommonName: "kube-apiserver",
		Server:     true,
		DNSNames: []string{
			"kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc." + o.ClusterDomain, "localhost",
		},
		IPs: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, o.AdvertiseAddress, o.serviceIP()},
	}
	if !o.BindAddress.IsUnspecified() {
		leaf.IPs = append(leaf.IPs, o.BindAddress)
	}
	for _, san := range more {
		if ip := net.ParseIP(san); ip != nil {
			leaf.IPs = append(leaf.IPs, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, san)
		}
	}
	return leaf
}

// serviceIP of default/kubernetes. The range was checked by complete.
func (o APIServerOptions) serviceIP() net.IP {
	if o.ServiceIP != nil {
		return o.ServiceIP
	}
	primary, _, _ := strings.Cut(o.ServiceCIDR, ",")
	_, serviceRange, _ := net.ParseCIDR(primary)
	first := slices.Clone(serviceRange.IP)
	first[len(first)-1]++ // a range starts at an even address
	return first
}

// clientLeaf is for clients in this process. Their certificates never leave it
// and are issued again at every start, so they live as long as the authority,
// whose key lies beside them anyway.
func clientLeaf(user string, groups []string) pki.Leaf {
	return pki.Leaf{CommonName: user, Organizations: groups, Client: true}
}

// writeFiles puts what upstream wants as files into Dir and returns their paths
// by the name of the flag.
func (o APIServerOptions) writeFiles(serving *servingCertificate) (map[string]string, error) {
	servingCert, servingKey := serving.CurrentCertKeyContent()
	kubeletCert, kubeletKey, err := o.PKI.Issue(clientLeaf(KubeletClientUser, nil))
	if err != nil {
		return nil, err
	}
	proxyCert, proxyKey, err := o.PKI.IssueFrontProxy(clientLeaf("front-proxy-client", nil))
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{
		"tls-cert-file":                    servingCert,
		"tls-private-key-file":             servingKey,
		"client-ca-file":                   o.PKI.CAPEM(),
		"kubelet-client-certificate":       kubeletCert,
		"kubelet-client-key":               kubeletKey,
		"proxy-client-cert-file":           proxyCert,
		"proxy-client-key-file":            proxyKey,
		"requestheader-client-ca-file":     o.PKI.FrontProxyCAPEM(),
		"service-account-key-file":         o.PKI.ServiceAccountKeyPEM(),
		"service-account-signing-key-file": o.PKI.ServiceAccountKeyPEM(),
	}
	if o.Outbound != nil {
		files[egressFlag] = []byte(egressConfiguration)
	}
	maps.Copy(files, o.Passthrough.files())
	return writeFiles(o.Dir, files)
}

// flags of kube-apiserver; files are flags already.
func (o APIServerOptions) flags(files map[string]string) map[string]string {
	flags := map[string]string{
		"etcd-servers":      o.EtcdEndpoint,
		"advertise-address": o.AdvertiseAddress.String(),
		"bind-address":      o.BindAddress.String(),
		"secure-port":       strconv.Itoa(max(o.Port, 1)), // only validated: the listener is given

		"service-cluster-ip-range": o.ServiceCIDR,
		// A single server: its endpoints replace those of its predecessor at
		// once, without waiting for a lease of a killed one to expire. See
		// steadyEndpoints, too.
		"endpoint-reconciler-type": "master-count",

		"authorization-mode":                 "RBAC",
		"service-account-issuer":             o.issuer(),
		"api-audiences":                      o.issuer(),
		"requestheader-allowed-names":        "front-proxy-client",
		"requestheader-extra-headers-prefix": "X-Remote-Extra-",
		"requestheader-group-headers":        "X-Remote-Group",
		"requestheader-username-headers":     "X-Remote-User",

		// A pod's token lives as long as the pod asks for. Upstream makes a year of an
		// hour, for clients of before 2021 that never read the file again.
		"service-account-extend-token-expiration": "false",

		"shutdown-watch-termination-grace-period": shutdownWatchGrace,
		// Other streams, such as followed logs, get two seconds instead of sixty.
		"shutdown-send-retry-after": "true",

		// Collections, such as all pods of a namespace that ends, are deleted by this many
		// at once. Upstream's default is one after the other, each for as long as the disk
		// takes.
		"delete-collection-workers": "8",

		// What a pod may do is the host's to decide, by its own Pod Security.
		"allow-privileged": "true",
		// Before it proxies to a node, upstream looks up in DNS what it prefers: it must
		// be an address, since nobody here need know the names of the host's nodes.
		"kubelet-preferred-address-types": "InternalIP,Hostname",
		// Webhooks and aggregated API servers are dialled at their pods, which this process
		// sees ready before the host's proxies have heard of them.
		"enable-aggregator-routing": "true",
		// It would show the tenant the inside of a process that is not theirs.
		"profiling": "false",
	}
	maps.Copy(flags, o.Passthrough.flags())
	maps.Copy(flags, files)
	return flags
}

// register adds the mutating plugins right after the mutating webhooks, which upstream
// runs last of the mutating ones, and the validating ones right before the quota.
func (o APIServerOptions) register(options *genericoptions.AdmissionOptions) {
	order := slices.Clone(options.RecommendedPluginOrder) // upstream's is shared by all servers of the process
	last := slices.Index(order, mutatingwebhook.PluginName) + 1
	for i, plugin := range o.MutatingLast {
		options.Plugins.Register(plugin.Name, plugin.New)
		order = slices.Insert(order, last+i, plugin.Name)
	}
	quota := slices.Index(order, resourcequota.PluginName)
	for i, plugin := range o.ValidatingLast {
		options.Plugins.Register(plugin.Name, plugin.New)
		order = slices.Insert(order, quota+i, plugin.Name)
	}
	options.RecommendedPluginOrder = order
}

// path of a flag's file in dir.
func flagFile(dir, flag string) string { return filepath.Join(dir, flag+".pem") }
