package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"github.com/coredns/coredns/plugin/pkg/reuseport"
)

const (
	// anyPortTries is how often a port that is free for TCP may turn out not to be for UDP.
	anyPortTries = 20
	// maxConnections of clients by TCP at once; those above wait.
	maxConnections = 1000
	// packetSockets share the UDP port; the kernel spreads clients over them. Each has a
	// buffer of its own, in which queries wait while the process waits for a processor:
	// those beyond it are lost.
	packetSockets = 4
	// packetBuffer is asked for, in bytes. The kernel gives as much as net.core.rmem_max and
	// as much again for its own records: at its default, twice what a socket has otherwise.
	packetBuffer = 4 << 20
)

// sockets are one port, for both protocols.
type sockets struct {
	stream  net.Listener
	packets []net.PacketConn
}

// openSockets opens a port of ip; port 0 is any that is free for both.
func openSockets(ctx context.Context, ip net.IP, port int) (*sockets, error) {
	address := net.JoinHostPort(ip.String(), strconv.Itoa(port))
	for try := 1; ; try++ {
		// Not shared: this tells when somebody else has the port.
		stream, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			return nil, listenError(address, err)
		}
		out := &sockets{stream: limited(stream, maxConnections)}
		if err = out.openPackets(); err == nil {
			return out, nil
		}
		out.close()
		if port != 0 || try == anyPortTries {
			return nil, listenError(address, err)
		}
	}
}

func (s *sockets) openPackets() error {
	for range packetSockets {
		packets, err := reuseport.ListenPacket("udp", s.stream.Addr().String())
		if err != nil {
			return err
		}
		s.packets = append(s.packets, packets)
		if err := packets.(*net.UDPConn).SetReadBuffer(packetBuffer); err != nil {
			return err
		}
	}
	return nil
}

func (s *sockets) address() *net.TCPAddr { return s.stream.Addr().(*net.TCPAddr) }

// close can be called again.
func (s *sockets) close() {
	_ = s.stream.Close()
	for _, packets := range s.packets {
		_ = packets.Close()
	}
}

func listenError(address string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("address %s is in use by another process", address)
	}
	return err // says the address
}
