// Package config holds the one configuration of a nestling.
//
// It is read in this order, each step over the one before:
//
//	defaults → environment (the downward API) → file (--config) → flags
//
// Flags.Load does all of it and returns a Config; Config.Complete checks it as a whole, derives what is left and
// returns a Completed, which nobody outside this package can make otherwise. Every mistake becomes an *Error that
// names the field by its path in the file.
package config

const (
	// APIVersion and Kind head every file.
	APIVersion = "nestling.dev/v1alpha1"
	Kind       = "Config"
)

// Config is one file. Every leaf has a flag too; fields.go lists them with their documentation.
// A pointer means that false differs from unset.
type Config struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`

	// Tenant is the nestling's name: a DNS label of at most MaxTenant characters.
	Tenant string `json:"tenant,omitempty"`
	// DataDir holds everything on disk; it may be emptied between two starts of an ephemeral tenant.
	DataDir string `json:"dataDir,omitempty"`
	// ClusterDomain is the DNS suffix of the virtual cluster.
	ClusterDomain string `json:"clusterDomain,omitempty"`

	Host      Host      `json:"host,omitzero"`
	APIServer APIServer `json:"apiServer,omitzero"`
	Etcd      Etcd      `json:"etcd,omitzero"`
	Sync      Sync      `json:"sync,omitzero"`
	Pods      Pods      `json:"pods,omitzero"`
	// InitialObjects are put into the tenant and kept there, whatever becomes of them. They lie in the ConfigMap of the
	// configuration, so no Secret should be among them.
	InitialObjects []Document `json:"initialObjects,omitempty"`

	Nodes   Nodes   `json:"nodes,omitzero"`
	DNS     DNS     `json:"dns,omitzero"`
	Runtime Runtime `json:"runtime,omitzero"`
	Log     Log     `json:"log,omitzero"`
	Metrics Metrics `json:"metrics,omitzero"`

	// Kubeconfigs are Secrets on the host beside the administrator's TENANT-kubeconfig.
	Kubeconfigs []Kubeconfig `json:"kubeconfigs,omitempty"`

	// environment is what the process was told by its pod and is no configuration.
	environment environment
}

// Host is where the tenant's pods run.
type Host struct {
	// Namespace holds everything of the tenant on the host.
	Namespace string `json:"namespace,omitempty"`
	// Kubeconfig reaches the host from outside; empty means in cluster.
	Kubeconfig string `json:"kubeconfig,omitempty"`
	// Service is the host Service in front of the tenant's API; its ClusterIP becomes that of `default/kubernetes`.
	Service string `json:"service,omitempty"`
	// ServiceCIDR must contain every ClusterIP that the host allocates. Larger costs nothing.
	ServiceCIDR string `json:"serviceCIDR,omitempty"`
}

// APIServer is how the tenant's API listens and is reached.
type APIServer struct {
	BindAddress string `json:"bindAddress,omitempty"`
	Port        int    `json:"port,omitempty"`
	// AdvertiseAddress is in the Endpoints of `default/kubernetes`: an address that the tenant's pods reach.
	AdvertiseAddress string `json:"advertiseAddress,omitempty"`
	// SANs are DNS names and IP addresses for the serving certificate, over those that are always in it.
	SANs []string `json:"sans,omitempty"`
	// ServerURL goes into the kubeconfig Secret, whatever the exposure says.
	ServerURL string `json:"serverURL,omitempty"`
	// Authentication is upstream's AuthenticationConfiguration (apiserver.config.k8s.io): OIDC issuers, and who they make
	// of their tokens' holders. Certificates and ServiceAccounts are known beside it.
	Authentication Document `json:"authentication,omitempty"`
	// Audit is who asked what, for the record.
	Audit Audit `json:"audit,omitzero"`
	// Encryption is upstream's EncryptionConfiguration: how Secrets, and whatever else it names, lie in etcd.
	Encryption SecretFile `json:"encryption,omitzero"`
	// Exposure is how the API is reached from outside the host cluster.
	Exposure Exposure `json:"exposure,omitzero"`
}

// Etcd is the embedded store.
type Etcd struct {
	// QuotaBytes is the size at which etcd stops taking writes.
	QuotaBytes int64 `json:"quotaBytes,omitempty"`
	// UnsafeNoFsync leaves write-back to the kernel: a killed process loses nothing, a crashed node may.
	UnsafeNoFsync bool `json:"unsafeNoFsync,omitempty"`
}

// Sync is what goes to the host, and how carefully.
type Sync struct {
	// Preflight asks the host, by server-side dry run, whether it would take a pod, before the tenant's API does.
	Preflight *bool `json:"preflight,omitempty"`
	// ConfigMaps and Secrets: "referenced" by a synced pod, or "all".
	ConfigMaps Selection `json:"configMaps,omitempty"`
	Secrets    Selection `json:"secrets,omitempty"`
	// Disabled are kinds, by plural, that do not go to the host or come from it: see CanDisable. The tenant can have
	// such objects; they do nothing.
	Disabled []string `json:"disabled,omitempty"`
	// PriorityClasses and RuntimeClasses are the host's, for the tenant's pods.
	PriorityClasses PriorityClasses `json:"priorityClasses,omitzero"`
	RuntimeClasses  RuntimeClasses  `json:"runtimeClasses,omitzero"`
	// ServiceAccounts lets the tenant's pods run as host ServiceAccounts of their own, with the annotations of the
	// virtual ones: what platforms grant to such an identity, the tenant can have.
	ServiceAccounts bool `json:"serviceAccounts,omitempty"`
	// PersistentVolumeClaims hold the tenant's data.
	PersistentVolumeClaims VolumeClaims `json:"persistentVolumeClaims,omitzero"`
	// ServiceAccountTokens are the projected tokens of the tenant's pods.
	ServiceAccountTokens Tokens `json:"serviceAccountTokens,omitzero"`
	// DeleteBreaker stops an implausible deletion on the host.
	DeleteBreaker DeleteBreaker `json:"deleteBreaker,omitzero"`
	// Workers is how many objects of one kind are worked on at once.
	Workers int `json:"workers,omitempty"`
}

// CanDisable are the kinds that a tenant works without: a host may not want them of tenants. Endpoints name addresses
// (CVE-2021-25740), and policies of the network add up with the operator's own.
func CanDisable() []string {
	return []string{"endpoints", "endpointslices", "ingressclasses", "ingresses", "networkpolicies", "poddisruptionbudgets"}
}

// PriorityClasses says which priority on the host the tenant's pods may have.
type PriorityClasses struct {
	// Selector selects, by labels, the host's classes that the tenant sees and its pods may name; empty: all but
	// system-*.
	Selector string `json:"selector,omitempty"`
	// System lets pods have system-node-critical and system-cluster-critical: they displace anybody's pods.
	System bool `json:"system,omitempty"`
	// Unavailable says what becomes of a pod that names another: it runs without ("drop"), or not ("reject").
	Unavailable Unavailable `json:"unavailable,omitempty"`
}

// Unavailable says what becomes of a pod that names something that it cannot have on the host.
type Unavailable string

const (
	UnavailableDrop   Unavailable = "drop"
	UnavailableReject Unavailable = "reject"
)

// RuntimeClasses says which of the host's the tenant's pods may name.
type RuntimeClasses struct {
	// Selector selects them by labels; empty: all.
	Selector string `json:"selector,omitempty"`
}

// Selection says which objects of a kind go to the host.
type Selection string

const (
	SelectReferenced Selection = "referenced"
	SelectAll        Selection = "all"
)

// VolumeClaims says what becomes of the tenant's claims.
type VolumeClaims struct {
	// OnTenantDelete is what deleting the tenant does to them on the host. Deleting a claim in the tenant deletes it
	// there in any case.
	OnTenantDelete DataPolicy `json:"onTenantDelete,omitempty"`
}

// DataPolicy says whether data goes with its tenant.
type DataPolicy string

const (
	// DataDelete deletes the claims, and the volumes behind them by their reclaim policies.
	DataDelete DataPolicy = "Delete"
	// DataRetain leaves the claims, under their host names, to whoever runs the host. A tenant of the same name gets
	// such a claim for its own, when it has one of the same name, by `kubectl annotate pvc NAME nestling.dev/uid-
	// --overwrite nestling.dev/identity=UID` on the host, where UID is that of the new tenant's namespace kube-system.
	DataRetain DataPolicy = "Retain"
)

// Tokens says when a ServiceAccount token in a pod is renewed.
type Tokens struct {
	// RotateAt is a fraction of the token's life; kubelet uses 0.8 as well.
	RotateAt float64 `json:"rotateAt,omitempty"`
}

// DeleteBreaker limits how many host objects of one kind may be deleted, in the life of a process, because their
// virtual objects are simply not there: MinObjects always, and beyond that Share of all the tenant has. Deletions that
// the process saw happen do not count. It keeps a lost or restored etcd from taking the workloads with it.
type DeleteBreaker struct {
	// MinObjects is a count.
	MinObjects int `json:"minObjects,omitempty"`
	// Share is a fraction; 1 is no limit.
	Share float64 `json:"share,omitempty"`
}

// Nodes is what the tenant sees of the host's nodes.
type Nodes struct {
	Mirror Mirror `json:"mirror,omitempty"`
}

// Mirror says which of the host's nodes the tenant sees.
type Mirror string

const (
	// MirrorAuto is all where the host lets us read nodes, else used.
	MirrorAuto Mirror = "auto"
	MirrorAll  Mirror = "all"
	// MirrorUsed shows a node when a pod lands on it.
	MirrorUsed Mirror = "used"
)

// DNS is what the tenant's pods resolve names with.
type DNS struct {
	// BindAddress and Port are where it listens, by UDP and TCP.
	BindAddress string `json:"bindAddress,omitempty"`
	Port        int    `json:"port,omitempty"`
	// Upstream are the nameservers for names outside the virtual cluster, as IP or IP:PORT. Empty means those that this
	// process has: in a pod, most often the host cluster's DNS.
	Upstream []string `json:"upstream,omitempty"`
	// StubDomains are domains that have nameservers of their own.
	StubDomains map[string][]string `json:"stubDomains,omitempty"`
	// HostCluster lets the tenant's pods resolve names of the host cluster.
	HostCluster bool `json:"hostCluster,omitempty"`
}

// Runtime is the Go runtime.
type Runtime struct {
	// GOGC is how much the heap may grow at rest, in percent of the live heap, before a
	// collection. In a burst it may grow four times as much.
	GOGC int `json:"gogc,omitempty"`
}

// Log is klog.
type Log struct {
	Verbosity int `json:"verbosity,omitempty"`
}

// Default returns the configuration that a file and flags change.
func Default() *Config {
	preflight := true
	return &Config{
		APIVersion:    APIVersion,
		Kind:          Kind,
		DataDir:       "/var/lib/nestling",
		ClusterDomain: "cluster.local",
		APIServer:     APIServer{BindAddress: "0.0.0.0", Port: 8443},
		Etcd:          Etcd{QuotaBytes: 2 << 30}, // etcd's own default
		Sync: Sync{
			Preflight:              &preflight,
			ConfigMaps:             SelectReferenced,
			Secrets:                SelectReferenced,
			PriorityClasses:        PriorityClasses{Unavailable: UnavailableDrop},
			PersistentVolumeClaims: VolumeClaims{OnTenantDelete: DataDelete},
			ServiceAccountTokens:   Tokens{RotateAt: 0.8},
			DeleteBreaker:          DeleteBreaker{MinObjects: 20, Share: 0.5},
			Workers:                16,
		},
		Nodes: Nodes{Mirror: MirrorAuto},
		DNS:   DNS{BindAddress: "0.0.0.0", Port: 1053},
		// Measured on an idle control plane: 200 MB anonymous at Go's 100, 167 MB at 50, 149 MB at 25.
		Runtime: Runtime{GOGC: 25},
	}
}
