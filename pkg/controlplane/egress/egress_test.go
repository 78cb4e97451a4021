package egress

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSpecialAddressesAreRefused(t *testing.T) {
	t.Parallel()
	refused := append(special(), Host("10.96.0.1")...)
	for address, may := range map[string]bool{
		"127.0.0.1:8443": false, "127.8.8.8:80": false, "[::1]:443": false, "[::ffff:127.0.0.1]:443": false,
		"0.0.0.0:443": false, "[::]:443": false,
		"169.254.169.254:443": false, "169.254.170.2:80": false, "[fe80::1%eth0]:443": false, "[fd00:ec2::254]:443": false,
		"168.63.129.16:80": false, "224.0.0.1:80": false,
		"10.96.0.1:443": false, "[::ffff:10.96.0.1]:6443": false,
		"10.96.0.2:443": true, "10.244.1.7:8443": true, "192.168.0.1:443": true, "203.0.113.1:443": true, "[fd00::1]:443": true,
	} {
		err := check(address, refused)
		require.Equal(t, may, err == nil, "%s: %v", address, err)
	}
	require.Nil(t, Host("host.example.org"))
	require.Equal(t, []netip.Prefix{netip.MustParsePrefix("10.96.0.1/32")}, Host("10.96.0.1"))
}

func TestANameLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	var refusal *RefusedError
	_, err = Dial()(t.Context(), "tcp", net.JoinHostPort("localhost", port))
	require.ErrorAs(t, err, &refusal)
	require.ErrorContains(t, err, "is no address that this API server connects to for its users")
}
