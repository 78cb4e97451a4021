package loopback

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
)

const (
	// lowest port to give: below are those of well-known services.
	lowest = 10000
	// ephemeralRange is where Linux tells the first and the last port that it gives to
	// outgoing connections (ip_local_port_range of ip-sysctl in the kernel's documentation).
	ephemeralRange = "/proc/sys/net/ipv4/ip_local_port_range"
	// nodePorts are Kubernetes's by default (--service-node-port-range): a port of them may be
	// redirected to a Service, listened on or not.
	firstNodePort, lastNodePort = 30000, 32767
	// tries until there is no free port to be found.
	tries = 1000
)

var given = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// FreePort is a port that is free for TCP and for UDP on 127.0.0.1, and that the kernel gives
// to no outgoing connection. This process is given each port once.
func FreePort() (int, error) {
	first, last := ephemeral()
	candidates := ports(first, last)
	if len(candidates) == 0 {
		return 0, fmt.Errorf("no port from %d on is outside the range %d-%d of outgoing connections; narrow %s", lowest, first, last, ephemeralRange)
	}
	given.Lock()
	defer given.Unlock()
	for range tries {
		port := candidates[rand.IntN(len(candidates))] //nolint:gosec // not a secret: two processes shall seldom try the same one
		if !given.ports[port] && free(port) {
			given.ports[port] = true
			return port, nil
		}
	}
	return 0, fmt.Errorf("none of %d ports of 127.0.0.1 outside the range %d-%d of outgoing connections is free", tries, first, last)
}

// ephemeral is the range of outgoing connections, or Linux's default where it cannot be read.
func ephemeral() (first, last int) {
	content, err := os.ReadFile(ephemeralRange)
	if err == nil {
		_, err = fmt.Sscan(string(content), &first, &last)
	}
	if err != nil {
		return 32768, 60999
	}
	return first, last
}

// ports are those that may be given where outgoing connections have first to last.
func ports(first, last int) []int {
	var out []int
	for port := lowest; port <= 65535; port++ {
		if (port < first || port > last) && (port < firstNodePort || port > lastNodePort) {
			out = append(out, port)
		}
	}
	return out
}

func free(port int) bool {
	ip := net.IPv4(127, 0, 0, 1)
	stream, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: ip, Port: port})
	if err != nil {
		return false
	}
	defer stream.Close()
	packets, err := net.ListenUDP("udp4", &net.UDPAddr{IP: ip, Port: port})
	if err != nil {
		return false
	}
	defer packets.Close()
	return true
}
