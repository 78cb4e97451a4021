package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// dnsPort is that of nameservers that are given without one.
const dnsPort = 53

// Nameserver reads an IP, or an IP:PORT.
func Nameserver(text string) (netip.AddrPort, error) {
	if address, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(address, dnsPort), nil
	}
	server, err := netip.ParseAddrPort(text)
	if err != nil || server.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("%q is not the address of a nameserver, such as 10.0.0.53 or [fd00::53]:5353", text)
	}
	return server, nil
}

// nameservers are all with their ports. They were checked.
func nameservers(texts []string) []string {
	out := make([]string, 0, len(texts))
	for _, text := range texts {
		if server, err := Nameserver(text); err == nil {
			out = append(out, server.String())
		}
	}
	return out
}

// mapping is a flag of KEY=VALUE, separated by commas. The first one given replaces what
// the file says; further ones add to it.
type mapping struct {
	to    *map[string][]string
	given bool
}

func (m *mapping) String() string {
	if m.to == nil {
		return ""
	}
	var items []string
	for key, values := range *m.to {
		for _, value := range values {
			items = append(items, key+"="+value)
		}
	}
	slices.Sort(items)
	return strings.Join(items, ",")
}

func (m *mapping) Set(in string) error {
	if !m.given {
		*m.to, m.given = map[string][]string{}, true
	}
	for item := range strings.SplitSeq(in, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(item), "=")
		if !ok {
			return fmt.Errorf("%q is not DOMAIN=NAMESERVER", item)
		}
		(*m.to)[key] = append((*m.to)[key], value)
	}
	return nil
}

func (*mapping) Type() string { return "strings" }
