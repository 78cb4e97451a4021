package config

import (
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"

	"nestling.dev/nestling/pkg/podrules"
)

// Field documents one leaf of Config. The table of all of them is the flags, the environment and the reference.
type Field struct {
	// Path is where the field is in the file.
	Path string
	// Flag sets it on the command line.
	Flag string
	// Short is the one-letter flag, if any.
	Short string
	// Env sets it from the environment, if anything does.
	Env string
	// Usage is one line, with the unit.
	Usage string

	value pflag.Value
}

// Default returns the default as text; empty if it is derived or must be given.
func (f Field) Default() string { return f.value.String() }

// Reference lists all fields in the order of the file, with their defaults.
func Reference() []Field { return fields(Default()) }

// fields binds every leaf of c.
func fields(c *Config) []Field {
	return []Field{
		{Path: "tenant", Flag: "tenant", Env: "NESTLING_TENANT", value: text(&c.Tenant),
			Usage: "name of this nestling: a DNS label of at most 40 characters"},
		{Path: "dataDir", Flag: "data-dir", value: text(&c.DataDir),
			Usage: "directory that holds etcd's data and the certificates"},
		{Path: "clusterDomain", Flag: "cluster-domain", value: text(&c.ClusterDomain),
			Usage: "DNS suffix of the virtual cluster"},

		{Path: "host.namespace", Flag: "host-namespace", Env: "POD_NAMESPACE", value: text(&c.Host.Namespace),
			Usage: "host namespace that holds everything of the tenant"},
		{Path: "host.kubeconfig", Flag: "host-kubeconfig", value: text(&c.Host.Kubeconfig),
			Usage: "kubeconfig file for the host; empty uses the pod's own ServiceAccount"},
		{Path: "host.service", Flag: "host-service", value: text(&c.Host.Service),
			Usage: "host Service in front of the tenant's API; empty is the tenant's name"},
		{Path: "host.serviceCIDR", Flag: "host-service-cidr", value: text(&c.Host.ServiceCIDR),
			Usage: "range that contains every ClusterIP of the host; empty is the /12 (IPv6: /64) around the host's own API Service"},

		{Path: "apiServer.bindAddress", Flag: "bind-address", value: text(&c.APIServer.BindAddress),
			Usage: "IP address on which the tenant's API listens"},
		{Path: "apiServer.port", Flag: "port", value: integer(&c.APIServer.Port),
			Usage: "TCP port on which the tenant's API listens"},
		{Path: "apiServer.advertiseAddress", Flag: "advertise-address", Env: "POD_IP", value: text(&c.APIServer.AdvertiseAddress),
			Usage: "IP address at which the tenant's pods reach this process"},
		{Path: "apiServer.sans", Flag: "sans", value: &list{to: &c.APIServer.SANs},
			Usage: "further DNS names and IP addresses for the serving certificate, separated by commas"},
		{Path: "apiServer.serverURL", Flag: "server-url", value: text(&c.APIServer.ServerURL),
			Usage: "URL in the kubeconfig Secret; empty is what apiServer.exposure makes it, or https://SERVICE.NAMESPACE.svc:443"},
		{Path: "apiServer.authentication", Flag: "authentication", value: &documentFile{to: &c.APIServer.Authentication},
			Usage: "file with an AuthenticationConfiguration (apiserver.config.k8s.io): OIDC issuers and their users"},
		{Path: "apiServer.audit.policy", Flag: "audit-policy", value: &documentFile{to: &c.APIServer.Audit.Policy},
			Usage: "file with a Policy (audit.k8s.io/v1): what is recorded of requests to the tenant's API"},
		{Path: "apiServer.audit.log", Flag: "audit-log", value: text(&c.APIServer.Audit.Log),
			Usage: "where audit events go: stdout, none, or a file in the data directory, rotated at 50 MB, of which 5 are kept; empty is stdout unless there is a webhook"},
		{Path: "apiServer.audit.webhook.secret", Flag: "audit-webhook-secret", value: text(&c.APIServer.Audit.Webhook.Secret),
			Usage: "host Secret whose key kubeconfig says where audit events are sent"},
		{Path: "apiServer.audit.webhook.file", Flag: "audit-webhook-file", value: text(&c.APIServer.Audit.Webhook.File),
			Usage: "the same as a file, for a process in no pod"},
		{Path: "apiServer.encryption.secret", Flag: "encryption-secret", value: text(&c.APIServer.Encryption.Secret),
			Usage: "host Secret whose key encryption.yaml is an EncryptionConfiguration (apiserver.config.k8s.io/v1); its changes are followed"},
		{Path: "apiServer.encryption.file", Flag: "encryption-file", value: text(&c.APIServer.Encryption.File),
			Usage: "the same as a file, for a process in no pod"},
		{Path: "apiServer.exposure.type", Flag: "exposure", value: text(&c.APIServer.Exposure.Type),
			Usage: "how the tenant's API is reached: ClusterIP (the default), LoadBalancer, NodePort, Ingress or Gateway (both pass TLS through)"},
		{Path: "apiServer.exposure.host", Flag: "exposure-host", value: text(&c.APIServer.Exposure.Host),
			Usage: "DNS name or IP address in kubeconfigs; required for Ingress and Gateway, found by LoadBalancer and NodePort"},
		{Path: "apiServer.exposure.port", Flag: "exposure-port", value: integer(&c.APIServer.Exposure.Port),
			Usage: "port in kubeconfigs, and of a load balancer; 0 is 443, or what the host gives out for NodePort"},
		{Path: "apiServer.exposure.annotations", Flag: "exposure-annotations", value: &pairs{to: &c.APIServer.Exposure.Annotations},
			Usage: "annotations of the Service, Ingress or TLSRoute, as KEY=VALUE, separated by commas"},
		{Path: "apiServer.exposure.loadBalancerClass", Flag: "exposure-load-balancer-class", value: text(&c.APIServer.Exposure.LoadBalancerClass),
			Usage: "class of the load balancer; empty is the host's default"},
		{Path: "apiServer.exposure.sourceRanges", Flag: "exposure-source-ranges", value: &list{to: &c.APIServer.Exposure.SourceRanges},
			Usage: "ranges of clients that the load balancer lets in, separated by commas; empty is all"},
		{Path: "apiServer.exposure.nodePort", Flag: "exposure-node-port", value: integer(&c.APIServer.Exposure.NodePort),
			Usage: "port of the nodes; 0 lets the host choose"},
		{Path: "apiServer.exposure.ingressClassName", Flag: "exposure-ingress-class-name", value: text(&c.APIServer.Exposure.IngressClassName),
			Usage: "class of the Ingress; empty is the host's default"},
		{Path: "apiServer.exposure.parentRefs", Flag: "exposure-parent-refs", value: &parents{to: &c.APIServer.Exposure.ParentRefs},
			Usage: "Gateways with a TLS listener of mode Passthrough, as NAMESPACE/NAME or NAMESPACE/NAME/LISTENER, separated by commas"},
		{Path: "apiServer.exposure.routeVersion", Flag: "exposure-route-version", value: text(&c.APIServer.Exposure.RouteVersion),
			Usage: "version of the TLSRoute: v1 (the default), v1alpha3 or v1alpha2"},

		{Path: "etcd.quotaBytes", Flag: "etcd-quota-bytes", value: integer(&c.Etcd.QuotaBytes),
			Usage: "size of the database, in bytes, at which writes are refused"},
		{Path: "etcd.unsafeNoFsync", Flag: "etcd-unsafe-no-fsync", value: boolean(&c.Etcd.UnsafeNoFsync),
			Usage: "do not wait for the disk; a crash of the node can lose the data, a crash of the process cannot"},

		{Path: "sync.preflight", Flag: "sync-preflight", value: boolean(c.Sync.Preflight),
			Usage: "reject at once, with the host's own message, a pod that the host would reject"},
		{Path: "sync.configMaps", Flag: "sync-config-maps", value: text(&c.Sync.ConfigMaps),
			Usage: "which ConfigMaps go to the host: referenced or all"},
		{Path: "sync.secrets", Flag: "sync-secrets", value: text(&c.Sync.Secrets),
			Usage: "which Secrets go to the host: referenced or all"},
		{Path: "sync.disabled", Flag: "sync-disabled", value: &list{to: &c.Sync.Disabled},
			Usage: "kinds that are not synced, separated by commas, of: " + strings.Join(CanDisable(), ", ")},
		{Path: "sync.priorityClasses.selector", Flag: "sync-priority-classes-selector", value: text(&c.Sync.PriorityClasses.Selector),
			Usage: "labels of the host's PriorityClasses that the tenant's pods may have; empty is all but system-*"},
		{Path: "sync.priorityClasses.system", Flag: "sync-priority-classes-system", value: boolean(&c.Sync.PriorityClasses.System),
			Usage: "let the tenant's pods be system-node-critical and system-cluster-critical on the host"},
		{Path: "sync.priorityClasses.unavailable", Flag: "sync-priority-classes-unavailable", value: text(&c.Sync.PriorityClasses.Unavailable),
			Usage: "what becomes of a pod that names another PriorityClass: drop (it runs on the host without) or reject"},
		{Path: "sync.runtimeClasses.selector", Flag: "sync-runtime-classes-selector", value: text(&c.Sync.RuntimeClasses.Selector),
			Usage: "labels of the host's RuntimeClasses that the tenant's pods may name; empty is all"},
		{Path: "sync.serviceAccounts", Flag: "sync-service-accounts", value: boolean(&c.Sync.ServiceAccounts),
			Usage: "let pods run as host ServiceAccounts of their own, with the virtual ones' annotations, for workload identity"},
		{Path: "sync.persistentVolumeClaims.onTenantDelete", Flag: "sync-persistent-volume-claims-on-tenant-delete", value: text(&c.Sync.PersistentVolumeClaims.OnTenantDelete),
			Usage: "what becomes of the tenant's claims, and their data, when the tenant is deleted: Delete or Retain"},
		{Path: "sync.serviceAccountTokens.rotateAt", Flag: "sync-token-rotate-at", value: fraction(&c.Sync.ServiceAccountTokens.RotateAt),
			Usage: "fraction of a token's life after which it is renewed"},
		{Path: "sync.deleteBreaker.minObjects", Flag: "sync-delete-breaker-min-objects", value: integer(&c.Sync.DeleteBreaker.MinObjects),
			Usage: "number of host objects of a kind that may always be deleted because their virtual ones are not there"},
		{Path: "sync.deleteBreaker.share", Flag: "sync-delete-breaker-share", value: fraction(&c.Sync.DeleteBreaker.Share),
			Usage: "the same as a fraction of all host objects of the kind; the larger of both counts, 1 is no limit"},
		{Path: "sync.workers", Flag: "sync-workers", value: integer(&c.Sync.Workers),
			Usage: "number of objects of one kind that are worked on at the same time"},

		{Path: "pods.deny", Flag: "pods-deny", value: &listFile[podrules.Rule]{to: &c.Pods.Deny},
			Usage: "file with a list of rules, each with name, expression (CEL, over pod, containers and images) and message: pods of which one is true are refused"},
		{Path: "pods.force.nodeSelector", Flag: "pods-force-node-selector", value: &labelSet{to: &c.Pods.Force.NodeSelector},
			Usage: "labels of the host's nodes on which all pods run, as KEY=VALUE, separated by commas"},
		{Path: "pods.force.tolerations", Flag: "pods-force-tolerations", value: &listFile[corev1.Toleration]{to: &c.Pods.Force.Tolerations},
			Usage: "file with a list of tolerations that all pods have on the host"},
		{Path: "pods.force.runtimeClass", Flag: "pods-force-runtime-class", value: text(&c.Pods.Force.RuntimeClass),
			Usage: "RuntimeClass of the host that all pods have there"},
		{Path: "pods.force.priorityClass", Flag: "pods-force-priority-class", value: text(&c.Pods.Force.PriorityClass),
			Usage: "PriorityClass of the host that all pods have there"},

		{Path: "initialObjects", Flag: "initial-objects", value: &documentsFile{to: &c.InitialObjects},
			Usage: "YAML file of objects, of any kinds, that are put into the tenant and kept there"},

		{Path: "nodes.mirror", Flag: "nodes-mirror", value: text(&c.Nodes.Mirror),
			Usage: "which host nodes the tenant sees: all, used (those that run its pods), or auto (all where permitted)"},
		{Path: "dns.bindAddress", Flag: "dns-bind-address", value: text(&c.DNS.BindAddress),
			Usage: "IP address on which the tenant's DNS listens"},
		{Path: "dns.port", Flag: "dns-port", value: integer(&c.DNS.Port),
			Usage: "UDP and TCP port on which the tenant's DNS listens"},
		{Path: "dns.upstream", Flag: "dns-upstream", value: &list{to: &c.DNS.Upstream},
			Usage: "nameservers (IP or IP:PORT, separated by commas) for names outside the virtual cluster; empty is those of this process"},
		{Path: "dns.stubDomains", Flag: "dns-stub-domains", value: &mapping{to: &c.DNS.StubDomains},
			Usage: "domains with nameservers of their own, as DOMAIN=IP or DOMAIN=IP:PORT, separated by commas; a domain can come again"},
		{Path: "dns.hostCluster", Flag: "dns-host-cluster", value: boolean(&c.DNS.HostCluster),
			Usage: "let the tenant's pods resolve names of the host cluster; the tenant's own names come first"},
		{Path: "runtime.gogc", Flag: "gogc", value: integer(&c.Runtime.GOGC),
			Usage: "growth of the heap at rest, in percent, before Go collects garbage"},
		{Path: "log.verbosity", Flag: "verbosity", Short: "v", value: integer(&c.Log.Verbosity),
			Usage: "log level, 0 to 10"},
		{Path: "metrics.scrapeSecret", Flag: "metrics-scrape-secret", value: boolean(&c.Metrics.ScrapeSecret),
			Usage: "keep, in the host Secret TENANT-metrics, a client certificate that may read /metrics and nothing else"},
		{Path: "kubeconfigs", Flag: "kubeconfigs", value: &flow[[]Kubeconfig]{to: &c.Kubeconfigs},
			Usage: "further Secrets with access to the tenant, in YAML, such as [{secret: {namespace: argocd, name: team-a}, format: argocd}]"},
	}
}

// scalar is a pflag.Value over any simple field.
type scalar[T any] struct {
	to     *T
	kind   string
	parse  func(string) (T, error)
	format func(T) string
}

func (s *scalar[T]) String() string {
	if s.to == nil {
		return "" // pflag asks a zero value for its text
	}
	return s.format(*s.to)
}

func (s *scalar[T]) Set(in string) error {
	value, err := s.parse(in)
	if err == nil {
		*s.to = value
	}
	return err
}

func (s *scalar[T]) Type() string { return s.kind }

func text[T ~string](to *T) pflag.Value {
	return &scalar[T]{to, "string", func(in string) (T, error) { return T(in), nil }, func(v T) string { return string(v) }}
}

func integer[T int | int64](to *T) pflag.Value {
	parse := func(in string) (T, error) {
		value, err := strconv.ParseInt(in, 10, 64)
		return T(value), numberError(err)
	}
	return &scalar[T]{to, "int", parse, func(v T) string { return strconv.FormatInt(int64(v), 10) }}
}

func fraction(to *float64) pflag.Value {
	parse := func(in string) (float64, error) {
		value, err := strconv.ParseFloat(in, 64)
		return value, numberError(err)
	}
	return &scalar[float64]{to, "float", parse, func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }}
}

func boolean(to *bool) pflag.Value {
	parse := func(in string) (bool, error) {
		value, err := strconv.ParseBool(in)
		return value, numberError(err)
	}
	return &scalar[bool]{to, "bool", parse, strconv.FormatBool}
}
