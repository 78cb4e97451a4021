package config

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

// MaxTenant leaves room, in the 63 characters of a host name or label, for what is added to the tenant's name.
const MaxTenant = 40

// ValidateTenant returns what is wrong with a tenant's name; empty if nothing is.
func ValidateTenant(name string) string {
	switch {
	case name == "":
		return "is required: the name of this nestling"
	case len(name) > MaxTenant:
		return fmt.Sprintf("%q has %d characters; at most %d are allowed", name, len(name), MaxTenant)
	case len(validation.IsDNS1123Label(name)) > 0:
		return fmt.Sprintf("%q is not a DNS label (lower case letters, digits and -, with a letter or digit at both ends)", name)
	// A Service's name must start with a letter, and the tenant's Service bears its name.
	case len(validation.IsDNS1035Label(name)) > 0:
		return fmt.Sprintf("%q must start with a letter", name)
	}
	return ""
}

// ValidateNamespace returns what is wrong with a host namespace; empty if nothing is.
func ValidateNamespace(name string) string {
	if name == "" {
		return "is required: the host namespace that holds the tenant"
	}
	if len(validation.IsDNS1123Label(name)) > 0 {
		return fmt.Sprintf("%q is not a DNS label", name)
	}
	return ""
}

// validate collects all problems, in the order of the file.
func (c *Config) validate() []Problem {
	var problems []Problem
	check := func(field, detail string) {
		if detail != "" {
			problems = append(problems, Problem{Field: field, Detail: detail})
		}
	}
	check("tenant", ValidateTenant(c.Tenant))
	check("dataDir", absolute(c.DataDir))
	check("clusterDomain", domain(c.ClusterDomain))
	check("host.namespace", ValidateNamespace(c.Host.Namespace))
	if c.Host.Service != "" {
		check("host.service", label(c.Host.Service))
	}
	if c.Host.ServiceCIDR != "" {
		check("host.serviceCIDR", serviceRange(c.Host.ServiceCIDR))
	}
	check("apiServer.bindAddress", ip(c.APIServer.BindAddress))
	check("apiServer.port", within(c.APIServer.Port, 1, 65535))
	if c.APIServer.AdvertiseAddress != "" {
		check("apiServer.advertiseAddress", ip(c.APIServer.AdvertiseAddress))
	}
	for i, san := range c.APIServer.SANs {
		check(fmt.Sprintf("apiServer.sans[%d]", i), hostname(san))
	}
	if c.APIServer.ServerURL != "" {
		check("apiServer.serverURL", serverURL(c.APIServer.ServerURL))
	}
	problems = append(problems, c.authenticationProblems()...)
	problems = append(problems, c.auditProblems()...)
	problems = append(problems, c.APIServer.Encryption.problems("apiServer.encryption")...)
	problems = append(problems, c.APIServer.Exposure.problems(c.Nodes.Mirror)...)
	problems = append(problems, kubeconfigProblems(c.Kubeconfigs, c.Tenant, c.Host.Namespace)...)
	check("etcd.quotaBytes", within(c.Etcd.QuotaBytes, 64<<20, 64<<30))
	check("sync.configMaps", oneOf(c.Sync.ConfigMaps, SelectReferenced, SelectAll))
	check("sync.secrets", oneOf(c.Sync.Secrets, SelectReferenced, SelectAll))
	for i, kind := range c.Sync.Disabled {
		check(fmt.Sprintf("sync.disabled[%d]", i), oneOf(kind, CanDisable()...))
	}
	check("sync.priorityClasses.selector", selector(c.Sync.PriorityClasses.Selector))
	check("sync.priorityClasses.unavailable", oneOf(c.Sync.PriorityClasses.Unavailable, UnavailableDrop, UnavailableReject))
	check("sync.runtimeClasses.selector", selector(c.Sync.RuntimeClasses.Selector))
	check("sync.persistentVolumeClaims.onTenantDelete", oneOf(c.Sync.PersistentVolumeClaims.OnTenantDelete, DataDelete, DataRetain))
	check("sync.serviceAccountTokens.rotateAt", share(c.Sync.ServiceAccountTokens.RotateAt, 0.95)) // after that there is no time left to retry
	check("sync.deleteBreaker.minObjects", within(c.Sync.DeleteBreaker.MinObjects, 0, 1_000_000))
	check("sync.deleteBreaker.share", share(c.Sync.DeleteBreaker.Share, 1))
	check("sync.workers", within(c.Sync.Workers, 1, 256))
	problems = append(problems, c.podProblems()...)
	problems = append(problems, c.initialObjectProblems()...)
	check("nodes.mirror", oneOf(c.Nodes.Mirror, MirrorAuto, MirrorAll, MirrorUsed))
	check("dns.bindAddress", ip(c.DNS.BindAddress))
	check("dns.port", port(c.DNS.Port, c.APIServer.Port))
	for i, server := range c.DNS.Upstream {
		check(fmt.Sprintf("dns.upstream[%d]", i), nameserver(server))
	}
	for _, stub := range slices.Sorted(maps.Keys(c.DNS.StubDomains)) {
		check(fmt.Sprintf("dns.stubDomains[%s]", stub), stubDomain(stub, c.ClusterDomain, c.DNS.StubDomains[stub]))
	}
	check("runtime.gogc", within(c.Runtime.GOGC, 10, 1000))
	check("log.verbosity", within(c.Log.Verbosity, 0, 10))
	return problems
}

func absolute(path string) string {
	if !filepath.IsAbs(path) {
		return fmt.Sprintf("%q is not an absolute path", path)
	}
	return ""
}

func domain(name string) string {
	if len(validation.IsDNS1123Subdomain(name)) > 0 {
		return fmt.Sprintf("%q is not a DNS domain, such as cluster.local", name)
	}
	return ""
}

func label(name string) string {
	if len(validation.IsDNS1123Label(name)) > 0 {
		return fmt.Sprintf("%q is not a DNS label", name)
	}
	return ""
}

func ip(address string) string {
	if _, err := netip.ParseAddr(address); err != nil {
		return fmt.Sprintf("%q is not an IP address", address)
	}
	return ""
}

func serviceRange(cidr string) string {
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil {
		return fmt.Sprintf("%q is not a range such as 10.96.0.0/12", cidr)
	}
	if prefix.Addr().Is6() && prefix.Bits() < 64 {
		return fmt.Sprintf("%q is larger than /64, the largest that Kubernetes takes", cidr)
	}
	return ""
}

func hostname(san string) string {
	if _, err := netip.ParseAddr(san); err == nil {
		return ""
	}
	if len(validation.IsDNS1123Subdomain(san)) == 0 || len(validation.IsWildcardDNS1123Subdomain(san)) == 0 {
		return ""
	}
	return fmt.Sprintf("%q is neither a DNS name nor an IP address", san)
}

func selector(text string) string {
	if _, err := labels.Parse(text); err != nil {
		return fmt.Sprintf("%q is not a label selector such as tenants=yes: %v", text, err)
	}
	return ""
}

func serverURL(raw string) string {
	parsed, err := url.Parse(raw)
	if err != nil || parsed.Scheme != "https" || parsed.Host == "" {
		return fmt.Sprintf("%q is not an https:// URL", raw)
	}
	return ""
}

// port is one for UDP and TCP, beside another that is taken.
func port(number, taken int) string {
	if number == taken {
		return fmt.Sprintf("%d is apiServer.port already", number)
	}
	return within(number, 1, 65535)
}

func nameserver(server string) string {
	if _, err := Nameserver(server); err != nil {
		return err.Error()
	}
	return ""
}

// stubDomain must leave the cluster's own names alone.
func stubDomain(name, cluster string, servers []string) string {
	switch {
	case domain(name) != "":
		return domain(name)
	case name == cluster || strings.HasSuffix(name, "."+cluster):
		return "is the virtual cluster's own: see clusterDomain"
	case len(servers) == 0:
		return "has no nameservers"
	}
	for _, server := range servers {
		if detail := nameserver(server); detail != "" {
			return detail
		}
	}
	return ""
}

func within[T int | int64](value, least, most T) string {
	if value < least || value > most {
		return fmt.Sprintf("%d is not between %d and %d", value, least, most)
	}
	return ""
}

func share(value, most float64) string {
	// Written so that NaN fails too.
	if !(value > 0 && value <= most) {
		return fmt.Sprintf("%g is not above 0 and at most %g", value, most)
	}
	return ""
}

func oneOf[T ~string](value T, allowed ...T) string {
	if slices.Contains(allowed, value) {
		return ""
	}
	names := make([]string, 0, len(allowed))
	for _, name := range allowed {
		names = append(names, string(name))
	}
	return fmt.Sprintf("%q is not one of %s", string(value), strings.Join(names, ", "))
}
