package loopback

import (
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAFreePortIsNoneOfOutgoingConnections(t *testing.T) {
	t.Parallel()
	first, last := ephemeral()
	seen := map[int]bool{}
	for range 200 {
		port, err := FreePort()
		require.NoError(t, err)
		require.False(t, port >= first && port <= last, "%d is in %d-%d", port, first, last)
		require.False(t, seen[port], "%d was given before", port)
		seen[port] = true
	}
}

func TestWhatIsInUseIsNotFree(t *testing.T) {
	t.Parallel()
	stream, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer stream.Close()
	require.False(t, free(stream.Addr().(*net.TCPAddr).Port))
	packets, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer packets.Close()
	require.False(t, free(packets.LocalAddr().(*net.UDPAddr).Port))
}

func TestPortsByTheRangeOfOutgoingConnections(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ first, last, want, lowest, highest int }{
		{first: 32768, last: 60999, want: 20000 + 4536, lowest: 10000, highest: 65535},
		{first: 15000, last: 61000, want: 5000 + 4535, lowest: 10000, highest: 65535},
		{first: 1024, last: 65000, want: 535, lowest: 65001, highest: 65535},
	} {
		t.Run(fmt.Sprint(c.first, "-", c.last), func(t *testing.T) {
			t.Parallel()
			got := ports(c.first, c.last)
			require.Len(t, got, c.want)
			require.Equal(t, c.lowest, got[0])
			require.Equal(t, c.highest, got[len(got)-1])
		})
	}
	require.Empty(t, ports(1024, 65535))
}
