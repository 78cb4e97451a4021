package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Exposure is what stands in front of the tenant's API on the host, for those who are not in the host cluster. The
// kubeconfig Secret has a URL that works that way.
type Exposure struct {
	// Type is ClusterIP if empty.
	Type ExposureType `json:"type,omitempty"`
	// Host is the DNS name or IP address in kubeconfigs. Ingress and Gateway tell tenants apart by it, so they need a
	// DNS name; LoadBalancer and NodePort find an address by themselves.
	Host string `json:"host,omitempty"`
	// Port is that in kubeconfigs, and the one on which a load balancer listens. 0 is 443, or what the host gives out
	// for NodePort.
	Port int `json:"port,omitempty"`
	// Annotations are put on the Service, Ingress or TLSRoute, for the host's controllers.
	Annotations map[string]string `json:"annotations,omitempty"`

	// LoadBalancerClass and SourceRanges are those of the Service, for LoadBalancer.
	LoadBalancerClass string   `json:"loadBalancerClass,omitempty"`
	SourceRanges      []string `json:"sourceRanges,omitempty"`
	// NodePort is for NodePort; 0 lets the host choose.
	NodePort int `json:"nodePort,omitempty"`
	// IngressClassName is for Ingress; empty is the host's default.
	IngressClassName string `json:"ingressClassName,omitempty"`
	// ParentRefs are the Gateways, for Gateway: their listeners must be of mode Passthrough.
	ParentRefs []ParentRef `json:"parentRefs,omitempty"`
	// RouteVersion is that of the TLSRoute; v1 if empty, which the Gateway API has since 1.5.
	RouteVersion string `json:"routeVersion,omitempty"`
}

// ExposureType is one way to the tenant's API.
type ExposureType string

const (
	// ExposeClusterIP is reached from inside the host cluster; with a host, also through something that is not ours.
	ExposeClusterIP    ExposureType = "ClusterIP"
	ExposeLoadBalancer ExposureType = "LoadBalancer"
	ExposeNodePort     ExposureType = "NodePort"
	// ExposeIngress and ExposeGateway pass TLS through: the certificate that a client sees is the tenant's own.
	ExposeIngress ExposureType = "Ingress"
	ExposeGateway ExposureType = "Gateway"
)

// ParentRef is a Gateway, or one of its listeners.
type ParentRef struct {
	// Namespace is the tenant's host namespace if empty.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	// SectionName is that of a listener.
	SectionName string `json:"sectionName,omitempty"`
}

// Kind is the type, ClusterIP if none is given.
func (e Exposure) Kind() ExposureType {
	if e.Type == "" {
		return ExposeClusterIP
	}
	return e.Type
}

// problems are what is wrong, by paths in the file. mirror is nodes.mirror, which says whether nodes are read.
func (e Exposure) problems(mirror Mirror) []Problem {
	const path = "apiServer.exposure."
	var problems []Problem
	check := func(field, detail string) {
		if detail != "" {
			problems = append(problems, Problem{Field: path + field, Detail: detail})
		}
	}
	only := func(field string, given bool, types ...ExposureType) {
		if given && !slices.Contains(types, e.Kind()) {
			check(field, fmt.Sprintf("is for type %s only", types[0]))
		}
	}
	check("type", oneOf(e.Kind(), ExposeClusterIP, ExposeLoadBalancer, ExposeNodePort, ExposeIngress, ExposeGateway))
	check("host", e.host(mirror))
	if e.Port != 0 {
		check("port", within(e.Port, 1, 65535))
	}
	if e.Port != 0 && e.Host == "" && (e.Kind() == ExposeClusterIP || e.Kind() == ExposeNodePort) {
		check("port", "needs exposure.host: nothing of the tenant's listens there")
	}
	for _, key := range slices.Sorted(maps.Keys(e.Annotations)) {
		if len(validation.IsQualifiedName(strings.ToLower(key))) > 0 {
			check(fmt.Sprintf("annotations[%s]", key), "is not the name of an annotation")
		}
	}
	only("loadBalancerClass", e.LoadBalancerClass != "", ExposeLoadBalancer)
	if e.LoadBalancerClass != "" && len(validation.IsQualifiedName(e.LoadBalancerClass)) > 0 {
		check("loadBalancerClass", fmt.Sprintf("%q is not the name of a class, such as example.com/internal", e.LoadBalancerClass))
	}
	only("sourceRanges", len(e.SourceRanges) > 0, ExposeLoadBalancer)
	for i, cidr := range e.SourceRanges {
		if _, err := netip.ParsePrefix(cidr); err != nil {
			check(fmt.Sprintf("sourceRanges[%d]", i), fmt.Sprintf("%q is not a range such as 192.0.2.0/24", cidr))
		}
	}
	only("nodePort", e.NodePort != 0, ExposeNodePort)
	if e.NodePort != 0 {
		check("nodePort", within(e.NodePort, 1, 65535))
	}
	only("ingressClassName", e.IngressClassName != "", ExposeIngress)
	if e.IngressClassName != "" {
		check("ingressClassName", domain(e.IngressClassName))
	}
	only("parentRefs", len(e.ParentRefs) > 0, ExposeGateway)
	if e.Kind() == ExposeGateway && len(e.ParentRefs) == 0 {
		check("parentRefs", "is required for type Gateway: the Gateways with a TLS listener of mode Passthrough")
	}
	for i, parent := range e.ParentRefs {
		check(fmt.Sprintf("parentRefs[%d]", i), parent.validate())
	}
	only("routeVersion", e.RouteVersion != "", ExposeGateway)
	if e.RouteVersion != "" {
		check("routeVersion", oneOf(e.RouteVersion, "v1", "v1alpha3", "v1alpha2"))
	}
	return problems
}

func (e Exposure) host(mirror Mirror) string {
	_, err := netip.ParseAddr(e.Host)
	isIP := err == nil
	switch kind := e.Kind(); {
	case e.Host == "" && (kind == ExposeIngress || kind == ExposeGateway):
		return fmt.Sprintf("is required for type %s: the DNS name that clients use", kind)
	case e.Host == "" && kind == ExposeNodePort && mirror == MirrorUsed:
		return "is required for type NodePort where nodes.mirror is used: the addresses of nodes are not read"
	case e.Host == "":
		return ""
	case isIP && (kind == ExposeIngress || kind == ExposeGateway):
		return fmt.Sprintf("%q is an address; type %s tells tenants apart by a DNS name", e.Host, kind)
	case !isIP && len(validation.IsDNS1123Subdomain(e.Host)) > 0:
		return fmt.Sprintf("%q is neither a DNS name nor an IP address", e.Host)
	}
	return ""
}

func (p ParentRef) validate() string {
	switch {
	case p.Name == "":
		return "has no name"
	case len(validation.IsDNS1123Subdomain(p.Name)) > 0:
		return fmt.Sprintf("%q is not the name of a Gateway", p.Name)
	case p.Namespace != "" && len(validation.IsDNS1123Label(p.Namespace)) > 0:
		return fmt.Sprintf("namespace %q is not a DNS label", p.Namespace)
	case p.SectionName != "" && len(validation.IsDNS1123Subdomain(p.SectionName)) > 0:
		return fmt.Sprintf("sectionName %q is not the name of a listener", p.SectionName)
	}
	return ""
}

// pairs is a flag of KEY=VALUE, separated by commas, each key once. The first one given replaces what the file says;
// further ones add to it.
type pairs struct {
	to    *map[string]string
	given bool
}

func (p *pairs) String() string {
	if p.to == nil {
		return ""
	}
	var items []string
	for _, key := range slices.Sorted(maps.Keys(*p.to)) {
		items = append(items, key+"="+(*p.to)[key])
	}
	return strings.Join(items, ",")
}

func (p *pairs) Set(in string) error {
	if !p.given {
		*p.to, p.given = map[string]string{}, true
	}
	for item := range strings.SplitSeq(in, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(item), "=")
		if !ok || key == "" {
			return fmt.Errorf("%q is not KEY=VALUE", item)
		}
		(*p.to)[key] = value
	}
	return nil
}

func (*pairs) Type() string { return "strings" }

// parents is a flag of NAMESPACE/NAME or NAMESPACE/NAME/LISTENER, separated by commas; NAMESPACE may be empty.
type parents struct {
	to    *[]ParentRef
	given bool
}

func (p *parents) String() string {
	if p.to == nil {
		return ""
	}
	var items []string
	for _, parent := range *p.to {
		item := parent.Namespace + "/" + parent.Name
		if parent.SectionName != "" {
			item += "/" + parent.SectionName
		}
		items = append(items, item)
	}
	return strings.Join(items, ",")
}

func (p *parents) Set(in string) error {
	if !p.given {
		*p.to, p.given = nil, true
	}
	for item := range strings.SplitSeq(in, ",") {
		parts := strings.Split(strings.TrimSpace(item), "/")
		if len(parts) < 2 || len(parts) > 3 {
			return fmt.Errorf("%q is not NAMESPACE/NAME or NAMESPACE/NAME/LISTENER", item)
		}
		parent := ParentRef{Namespace: parts[0], Name: parts[1]}
		if len(parts) == 3 {
			parent.SectionName = parts[2]
		}
		*p.to = append(*p.to, parent)
	}
	return nil
}

func (*parents) Type() string { return "strings" }
