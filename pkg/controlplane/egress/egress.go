// Package egress is the way out of a tenant's API server to what its users name: webhooks
// and aggregated APIs, and pods and Services by the API's proxies.
//
// The API server connects from a pod of the host, which may be let where the tenant's own
// pods are not: a policy of the host's network, a firewall of the cloud's, or the process's
// own loopback know it as a part of the platform. So it does not connect to what is special
// to a machine: loopback and link-local addresses, where clouds keep their metadata, and
// the host's API. The rest is as open as to any pod of the tenant's, and the host's network
// policies have the word on it.
package egress

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

const (
	// timeout and keepAlive are those of net/http's default transport, which upstream uses.
	timeout   = 30 * time.Second
	keepAlive = 30 * time.Second
)

// RefusedError says that an address is not one to connect to. Its words are for the tenant.
type RefusedError struct{ Address netip.Addr }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s is no address that this API server connects to for its users", e.Address)
}

// special are addresses outside of the special ranges at which clouds serve metadata, and
// with it credentials, to their machines.
func special() []netip.Prefix {
	var out []netip.Prefix
	for _, text := range []string{
		"168.63.129.16/32",   // Azure
		"100.100.100.200/32", // Alibaba Cloud
		"192.0.0.192/32",     // Oracle Cloud
		"fd00:ec2::254/128",  // AWS
		"fd20:ce::254/128",   // Google Cloud
	} {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

// Dial connects to any address but special ones and those that are refused. It looks at the
// address that a connection is really made to, whatever name or DNS has led to it.
func Dial(refused ...netip.Prefix) func(ctx context.Context, network, address string) (net.Conn, error) {
	refused = append(special(), refused...)
	dialer := &net.Dialer{
		Timeout: timeout, KeepAlive: keepAlive,
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			return check(address, refused)
		},
	}
	return dialer.DialContext
}

func check(address string, refused []netip.Prefix) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address %q: %w", address, err)
	}
	ip := to.Addr().Unmap().WithZone("")
	if ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() || ip.IsMulticast() ||
		slices.ContainsFunc(refused, func(prefix netip.Prefix) bool { return prefix.Contains(ip) }) {
		return &RefusedError{Address: ip}
	}
	return nil
}

// Host is the range of one host as a URL or an address names it, if it does so by an IP.
func Host(host string) []netip.Prefix {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return nil
	}
	ip = ip.Unmap()
	return []netip.Prefix{netip.PrefixFrom(ip, ip.BitLen())}
}
