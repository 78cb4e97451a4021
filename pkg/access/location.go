package access

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"nestling.dev/nestling/pkg/config"
)

const (
	// apiPort is the Service's for the tenant's API, and apiPortName its name.
	apiPort     = 443
	apiPortName = "https"
	// maxNodes is how many nodes' addresses are in a certificate: with more, clients use a name.
	maxNodes = 100
)

// Location is where the tenant's API is found.
type Location struct {
	// URL is for kubeconfigs; empty where it is not known yet.
	URL string
	// Names are the DNS names and IP addresses by which clients may come, over those that the API is always reached
	// by. They are sorted.
	Names []string
	// Missing is what a URL waits for; empty if there is one.
	Missing string
}

// Surroundings are what the host knows of the way to the tenant's API.
type Surroundings struct {
	// Service is in front of it; nil if it is gone.
	Service *corev1.Service
	// Nodes are those of the host, for a node port.
	Nodes []*corev1.Node
}

// Locate finds the API. fixed is the URL where the configuration says all of it. current is the URL that clients have
// had until now, which stays good as long as it is: nodes come and go.
func Locate(exposure config.Exposure, fixed, current string, around Surroundings) Location {
	var out Location
	switch {
	case fixed != "":
		out.URL = fixed
	case exposure.Kind() == config.ExposeLoadBalancer:
		out = balanced(exposure, around.Service)
	case exposure.Kind() == config.ExposeNodePort:
		out = onNodes(exposure, hostOf(current), around)
	default: // names of the operator's, who leads them here
		out.URL = address(exposure.Host, port(exposure))
	}
	out.Names = append(out.Names, exposure.Host, hostOf(out.URL))
	slices.Sort(out.Names)
	out.Names = slices.DeleteFunc(slices.Compact(out.Names), func(name string) bool { return name == "" })
	return out
}

// balanced is at an address that the host's cloud gives out. A name of the operator's wins: it leads there.
func balanced(exposure config.Exposure, service *corev1.Service) Location {
	var out Location
	if service != nil {
		for _, ingress := range service.Status.LoadBalancer.Ingress {
			for _, name := range []string{ingress.Hostname, ingress.IP} {
				if name != "" {
					out.Names = append(out.Names, name)
				}
			}
		}
	}
	switch {
	case exposure.Host != "":
		out.URL = address(exposure.Host, port(exposure))
	case len(out.Names) > 0:
		out.URL = address(out.Names[0], port(exposure))
	default:
		out.Missing = "the address of the load balancer"
	}
	return out
}

// onNodes is at a port of every node.
func onNodes(exposure config.Exposure, current string, around Surroundings) Location {
	var out Location
	number := exposure.Port
	if number == 0 && around.Service != nil {
		for _, port := range around.Service.Spec.Ports {
			if port.Name == apiPortName {
				number = int(port.NodePort)
			}
		}
	}
	host := exposure.Host
	if host == "" {
		nodes := slices.SortedFunc(slices.Values(around.Nodes), func(a, b *corev1.Node) int {
			return strings.Compare(a.Name, b.Name)
		})
		out.Names = addresses(nodes)
		host = choose(nodes, current)
	}
	switch {
	case number == 0:
		out.Missing = "the node port of the Service"
	case host == "":
		out.Missing = "the address of a node that is ready"
	default:
		out.URL = address(host, number)
	}
	return out
}

// choose takes an external address before an internal one, and the current one before others of its kind.
func choose(nodes []*corev1.Node, current string) string {
	for _, kind := range []corev1.NodeAddressType{corev1.NodeExternalIP, corev1.NodeInternalIP} {
		var first string
		for _, node := range nodes {
			if !ready(node) {
				continue
			}
			for _, address := range node.Status.Addresses {
				if address.Type != kind || net.ParseIP(address.Address) == nil {
					continue
				}
				if address.Address == current {
					return current
				}
				if first == "" {
					first = address.Address
				}
			}
		}
		if first != "" {
			return first
		}
	}
	return ""
}

// addresses are those of all nodes, ready or not: a certificate is no reason to stay away.
func addresses(nodes []*corev1.Node) []string {
	var out []string
	for _, node := range nodes[:min(len(nodes), maxNodes)] {
		for _, address := range node.Status.Addresses {
			wanted := address.Type == corev1.NodeExternalIP || address.Type == corev1.NodeInternalIP
			if wanted && net.ParseIP(address.Address) != nil {
				out = append(out, address.Address)
			}
		}
	}
	return out
}

func ready(node *corev1.Node) bool {
	return slices.ContainsFunc(node.Status.Conditions, func(condition corev1.NodeCondition) bool {
		return condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue
	})
}

func port(exposure config.Exposure) int {
	if exposure.Port != 0 {
		return exposure.Port
	}
	return apiPort
}

func address(host string, port int) string {
	return fmt.Sprintf("https://%s", net.JoinHostPort(host, strconv.Itoa(port)))
}

// hostOf is the host in a URL; empty if there is none.
func hostOf(server string) string {
	parsed, err := url.Parse(server)
	if err != nil {
		return ""
	}
	return parsed.Hostname()
}
