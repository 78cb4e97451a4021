package resources

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// hostnameLength is the longest host name that kubelet sets, in bytes: Linux has 64
// with the final zero.
const hostnameLength = 63

// hostname makes `hostname` print what it prints in a cluster of the tenant's own.
//
// The subdomain does not go: kubelet would make it into a name of the host's namespace
// and domain. <hostname>.<subdomain>.<namespace>.svc resolves all the same, by the
// tenant's DNS; but /etc/hosts has the short name only, so `hostname -f` prints that.
//
// Names that spec.hostname can't hold, those with dots (a pod called a.b, or a fully
// qualified name), go as spec.hostnameOverride, which a host without the feature
// HostnameOverride drops; there the pod sees its name with dashes, or its short name.
func (t *podTranslation) hostname() error {
	spec := &t.host.Spec
	name := t.virtual.Spec.Hostname
	if name == "" {
		name = t.virtual.Name
	}
	if len(name) > hostnameLength {
		name = strings.TrimRight(name[:hostnameLength], "-.")
	}
	full := name
	if qualified := spec.SetHostnameAsFQDN; qualified != nil && *qualified && spec.Subdomain != "" {
		full = strings.Join([]string{name, spec.Subdomain, t.virtual.Namespace, "svc", t.env.ClusterDomain}, ".")
	}
	spec.Subdomain = ""
	spec.SetHostnameAsFQDN = nil
	spec.Hostname = strings.ReplaceAll(name, ".", "-")
	// A pod on the host's network has the node's name, and may not ask for another.
	if full != spec.Hostname && len(full) <= hostnameLength && !spec.HostNetwork && spec.HostnameOverride == nil {
		spec.HostnameOverride = &full
	}
	return nil
}

// Limits of a pod's DNS configuration (core/v1 validation); kubelet cuts to them.
const (
	dnsNameservers = 3
	dnsSearches    = 32
	dnsSearchBytes = 2048
)

// dns makes ClusterFirst explicit: the tenant's DNS and search path, then what the
// pod's author adds, as kubelet would merge them. Without a DNS of the tenant's the
// pod gets its node's, which knows none of the host cluster's services.
func (t *podTranslation) dns() error {
	spec := &t.host.Spec
	cluster := spec.DNSPolicy == corev1.DNSClusterFirstWithHostNet ||
		(spec.DNSPolicy == corev1.DNSClusterFirst || spec.DNSPolicy == "") && !spec.HostNetwork
	switch {
	case spec.DNSPolicy == corev1.DNSNone, spec.DNSPolicy == corev1.DNSDefault:
		return nil
	case !cluster, t.env.DNSIP == "":
		spec.DNSPolicy = corev1.DNSDefault
		return nil
	}
	services := "svc." + t.env.ClusterDomain
	config := &corev1.PodDNSConfig{
		Nameservers: []string{t.env.DNSIP},
		Searches:    []string{t.virtual.Namespace + "." + services, services, t.env.ClusterDomain},
		Options:     []corev1.PodDNSConfigOption{{Name: "ndots", Value: new("5")}},
	}
	if own := spec.DNSConfig; own != nil {
		config.Nameservers = distinct(append(config.Nameservers, own.Nameservers...))
		config.Searches = distinct(append(config.Searches, own.Searches...))
		config.Options = mergeOptions(config.Options, own.Options)
	}
	config.Nameservers = config.Nameservers[:min(len(config.Nameservers), dnsNameservers)]
	config.Searches = config.Searches[:min(len(config.Searches), dnsSearches)]
	for len(strings.Join(config.Searches, " ")) > dnsSearchBytes {
		config.Searches = config.Searches[:len(config.Searches)-1]
	}
	spec.DNSPolicy = corev1.DNSNone
	spec.DNSConfig = config
	return nil
}

// distinct is names without repetitions, in order.
func distinct(names []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, name := range names {
		if !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out
}

// mergeOptions is base with the options of over, which replace those of the same name.
func mergeOptions(base, over []corev1.PodDNSConfigOption) []corev1.PodDNSConfigOption {
	at := map[string]int{}
	var out []corev1.PodDNSConfigOption
	for _, options := range [][]corev1.PodDNSConfigOption{base, over} {
		for _, option := range options {
			if i, ok := at[option.Name]; ok {
				out[i] = option
				continue
			}
			at[option.Name] = len(out)
			out = append(out, option)
		}
	}
	return out
}
