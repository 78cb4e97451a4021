package deploy

import (
	"fmt"

	"nestling.dev/nestling/syncer/resource"
)

const (
	// ControlPlaneLabel marks all objects of this package with the tenant's name. The Service selects by it, and not by
	// the tenant label, because no pod of a tenant can ever carry it.
	ControlPlaneLabel = resource.LabelControlPlane
	// ConfigKey is the key of the configuration file in the ConfigMap, and its name where that is mounted.
	ConfigKey = "config.yaml"
	// KubeconfigKey is the key of the admin kubeconfig in its Secret.
	KubeconfigKey = "config"

	// Port is where the process serves the tenant's API; the Service forwards 443 to it.
	Port = 8443
	// DNSPort is where the process serves the tenant's DNS, by UDP and TCP; the Service for it forwards 53 to it.
	DNSPort = 1053
	// DataDir is where the volume is mounted.
	DataDir = "/var/lib/nestling"
	// ConfigDir is where the ConfigMap is mounted.
	ConfigDir = "/etc/nestling"
)

// Names are those of a tenant's own objects on the host. People script against them.
type Names struct {
	// Tenant is also the name of the StatefulSet, the Service, the process's ServiceAccount, the Role and its binding, and
	// of what there is one of at most: PodDisruptionBudget, NetworkPolicy, ResourceQuota, LimitRange, ServiceMonitor.
	Tenant string
	// Namespace is the host namespace.
	Namespace string
}

// Headless is the governing Service of the StatefulSet.
func (n Names) Headless() string { return n.Tenant + "-headless" }

// DNS is the Service in front of the tenant's DNS; its ClusterIP is in the resolv.conf of the tenant's pods.
func (n Names) DNS() string { return n.Tenant + "-dns" }

// Workload is the ServiceAccount that the tenant's pods run as on the host. It has no rights.
func (n Names) Workload() string { return n.Tenant + "-workload" }

// Config is the ConfigMap with the configuration file.
func (n Names) Config() string { return n.Tenant + "-config" }

// Anchor is the ConfigMap that owns every host object the process makes: deleting it deletes them all.
func (n Names) Anchor() string { return n.Tenant + "-anchor" }

// PKI is the Secret with the tenant's certificate authorities and keys. The process makes it.
func (n Names) PKI() string { return n.Tenant + "-pki" }

// Kubeconfig is the Secret with the admin kubeconfig. The process makes it.
func (n Names) Kubeconfig() string { return n.Tenant + "-kubeconfig" }

// Metrics is the Secret with the credential by which Prometheus scrapes the process. The process makes it.
func (n Names) Metrics() string { return n.Tenant + "-metrics" }

// ClusterRole bears the namespace too, because cluster roles of all namespaces share one name space.
func (n Names) ClusterRole() string { return fmt.Sprintf("nestling:%s:%s", n.Namespace, n.Tenant) }
