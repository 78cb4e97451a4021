package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// networkLock keeps two harnesses from choosing the same slot at once.
const networkLock = "/run/nestling-e2e.lock"

// noRedirects keeps a namespace from teaching others shorter ways. A packet for a
// ClusterIP that kube-proxy has no rule for yet goes back out to the hub; told so by a
// redirect (RFC 792), the machine would send there for minutes whatever it has for that
// address, past the rules that have come since.
const noRedirects = `for each in /proc/sys/net/ipv4/conf/*/send_redirects; do echo 0 > $each; done
`

// hubSysctls: forwarding makes the hub answer "network unreachable" instead of nothing.
const hubSysctls = noRedirects + `echo 1 > /proc/sys/net/ipv4/ip_forward`

// nodeSysctls of a node's network namespace: it routes for its pods, and kube-proxy's
// rules must see what crosses the bridge.
const nodeSysctls = noRedirects + `echo 1 > /proc/sys/net/ipv4/ip_forward
if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables; fi`

// connect joins machine, hub and nodes, having chosen a free slot.
func (l *layout) connect(ctx context.Context, groups hierarchies) error {
	unlock, err := lockFile(networkLock)
	if err != nil {
		return fmt.Errorf("node: network: %w", err)
	}
	defer unlock()
	if l.Slot, err = freeSlot(); err != nil {
		return err
	}
	if err := run(ipBatch(ctx, nil, l.rootLink())); err != nil {
		return fmt.Errorf("node: network: %w", err)
	}
	hub := l.inHub(ctx, groups)
	if err := run(ipBatch(ctx, hub, l.hubLinks())); err != nil {
		return fmt.Errorf("node: network of the hub: %w", err)
	}
	if err := run(l.inHub(ctx, groups, "/bin/sh", "-c", hubSysctls)); err != nil {
		return fmt.Errorf("node: network of the hub: %w", err)
	}
	for i := range l.Nodes {
		if err := run(ipBatch(ctx, l.inNode(ctx, groups, i), l.nodeLink(i))); err != nil {
			return fmt.Errorf("node: network of %s: %w", l.nodeName(i), err)
		}
		if err := run(l.inNode(ctx, groups, i, "/bin/sh", "-c", nodeSysctls)); err != nil {
			return fmt.Errorf("node: network of %s: %w", l.nodeName(i), err)
		}
	}
	if err := run(ipBatch(ctx, nil, l.rootRoutes())); err != nil {
		return fmt.Errorf("node: network: %w", err)
	}
	return l.forbidUplink(ctx)
}

// rootLink is the way from the machine to the hub. The alias tells whose it is.
func (l layout) rootLink() []string {
	return []string{
		fmt.Sprintf("link add %s type veth peer name uplink netns %d", l.linkName(), l.Holders[0]),
		fmt.Sprintf("link set %s alias %s", l.linkName(), l.Dir),
		fmt.Sprintf("address add %s/24 dev %s", l.rootAddress(), l.linkName()),
		fmt.Sprintf("link set %s up", l.linkName()),
	}
}

func (l layout) hubLinks() []string {
	lines := []string{
		"link set lo up",
		"link add bridge type bridge",
		"link set uplink master bridge up",
		fmt.Sprintf("address add %s/24 dev bridge", l.gateway()),
		"link set bridge up",
	}
	for i := range l.Nodes {
		lines = append(lines,
			fmt.Sprintf("link add port%d type veth peer name eth0 netns %d", i, l.holder(i)),
			fmt.Sprintf("link set port%d master bridge up", i),
			// For the answers to pods.
			fmt.Sprintf("route add %s via %s", l.podCIDR(i), l.address(i)))
	}
	return lines
}

func (l layout) nodeLink(node int) []string {
	lines := []string{
		"link set lo up",
		fmt.Sprintf("address add %s/24 dev eth0", l.address(node)),
		"link set eth0 up",
		// Without a default route no program of the node could even try a ClusterIP,
		// which has no route of its own before kube-proxy's rules rewrite it.
		"route add default via " + l.gateway(),
	}
	for i := range l.Nodes {
		if i != node {
			lines = append(lines, fmt.Sprintf("route add %s via %s", l.podCIDR(i), l.address(i)))
		}
	}
	return lines
}

// rootRoutes let a test process reach pods and Services by their addresses.
func (l layout) rootRoutes() []string {
	lines := []string{fmt.Sprintf("route add %s via %s", l.serviceCIDR(), l.address(0))}
	for i := range l.Nodes {
		lines = append(lines, fmt.Sprintf("route add %s via %s", l.podCIDR(i), l.address(i)))
	}
	return lines
}

// forbidUplink keeps a pod that may change routes from using the machine as its
// way out: the gateway of the nodes is the hub, but the machine is a neighbour.
func (l layout) forbidUplink(ctx context.Context) error {
	if err := run(iptables(ctx, append([]string{"--insert"}, l.uplinkRule()...)...)); err != nil {
		return fmt.Errorf("node: network: %w", err)
	}
	return nil
}

func (l layout) uplinkRule() []string {
	return []string{"FORWARD", "--in-interface", l.linkName(), "--match", "comment", "--comment", l.cgroup(), "--jump", "DROP"}
}

// disconnect removes what the machine's own namespace has for a directory: by the
// marks that were left on each thing, since nothing else may be known any more.
func disconnect(ctx context.Context, dir string) error {
	rules, err := iptables(ctx, "--list-rules", "FORWARD").Output()
	if err != nil {
		return fmt.Errorf("list rules: %w", err)
	}
	for _, rule := range strings.Split(string(rules), "\n") {
		if specification, ok := strings.CutPrefix(rule, "-A "); ok && strings.Contains(rule, "--comment "+cgroupName(dir)+" ") {
			if err := run(iptables(ctx, append([]string{"--delete"}, strings.Fields(specification)...)...)); err != nil {
				return err
			}
		}
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, link := range interfaces {
		if owner, err := linkOwner(link.Name); err != nil || owner != dir {
			continue
		}
		err := run(ipBatch(ctx, nil, []string{"link delete " + link.Name}))
		// The peer has died with the hub's namespace, and the kernel may just have
		// taken this end along.
		if _, lookup := net.InterfaceByName(link.Name); err != nil && lookup == nil {
			return err
		}
	}
	return nil
}

// linkOwner is the directory whose link this is; empty when there is no such link.
func linkOwner(name string) (string, error) {
	alias, err := os.ReadFile("/sys/class/net/" + name + "/ifalias")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL) {
		return "", nil
	}
	return strings.TrimSpace(string(alias)), err
}

// freeSlot is the first whose networks no interface of the machine is in.
func freeSlot() (int, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return 0, err
	}
	for slot := range maxSlot + 1 {
		candidate := layout{Slot: slot}
		taken := false
		for _, address := range addresses {
			ip, _, err := net.ParseCIDR(address.String())
			taken = taken || err == nil && candidate.owns(ip)
		}
		if !taken {
			return slot, nil
		}
	}
	return 0, fmt.Errorf("node: network: all of 172.30.0.0/24 to 172.30.%d.0/24 are taken on this machine", maxSlot)
}

func (l layout) owns(ip net.IP) bool {
	for _, cidr := range []string{l.linkNetwork(), l.podNetwork(), l.serviceCIDR()} {
		if _, network, err := net.ParseCIDR(cidr); err == nil && network.Contains(ip) {
			return true
		}
	}
	return false
}

// ipBatch feeds lines to one ip(8), in the namespaces of the given command if any.
func ipBatch(ctx context.Context, within *exec.Cmd, lines []string) *exec.Cmd {
	argv := []string{"ip", "-batch", "-"}
	command := within
	if command == nil {
		command = exec.CommandContext(ctx, "/usr/bin/env", argv...)
		command.Env = environment()
	} else {
		command.Args = append(command.Args, argv...)
	}
	command.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	return command
}

func iptables(ctx context.Context, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, "/usr/bin/env", append([]string{"iptables", "--wait"}, args...)...)
	command.Env = environment()
	return command
}

// lockFile waits for the lock and returns its release.
func lockFile(name string) (func(), error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return func() { _ = file.Close() }, nil
}
