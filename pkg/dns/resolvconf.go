package dns

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// surroundings are what the process's own resolver configuration tells of where it runs.
type surroundings struct {
	// nameservers are IP:PORT, in order.
	nameservers []string
	// domains are those of the host's cluster, as far as the search path tells.
	domains []string
}

// readResolvConf reads a file like resolv.conf(5). A missing one is an empty one.
func readResolvConf(path string) (surroundings, error) {
	config, err := dns.ClientConfigFromFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return surroundings{}, nil
	}
	if err != nil {
		return surroundings{}, fmt.Errorf("read %s: %w", path, err)
	}
	var out surroundings
	for _, server := range config.Servers {
		out.nameservers = append(out.nameservers, net.JoinHostPort(server, config.Port))
	}
	for _, search := range config.Search {
		// Kubelet writes NAMESPACE.svc.DOMAIN, svc.DOMAIN and DOMAIN.
		if domain, ok := strings.CutPrefix(strings.ToLower(search), "svc."); ok {
			out.domains = append(out.domains, dns.Fqdn(domain))
		}
	}
	slices.Sort(out.domains)
	out.domains = slices.Compact(out.domains)
	return out, nil
}
