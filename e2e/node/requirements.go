package node

import (
	"fmt"
	"os"
	"strings"

	"nestling.dev/nestling/e2e/rootfs"
)

// cniPlugins is where Debian's containernetworking-plugins puts its programs.
const cniPlugins = "/usr/lib/cni"

// tools are the programs of the machine that a node needs, and Debian's package of
// each. scripts/e2e-packages lists the same packages; a test compares the two.
func tools() map[string]string {
	return map[string]string{
		"containerd":               "containerd",
		"containerd-shim-runc-v2":  "containerd",
		"ctr":                      "containerd",
		"runc":                     "runc",
		cniPlugins + "/bridge":     "containernetworking-plugins",
		cniPlugins + "/portmap":    "containernetworking-plugins",
		cniPlugins + "/host-local": "containernetworking-plugins",
		cniPlugins + "/loopback":   "containernetworking-plugins",
		"iptables":                 "iptables",
		"conntrack":                "conntrack",
		"ip":                       "iproute2",
		"nsenter":                  "util-linux",
		"unshare":                  "util-linux",
		"mount":                    "mount",
		"curl":                     "curl",
		"ldd":                      "libc-bin",
		"busybox":                  "busybox-static",
		// In the images of upstream's suite.
		"bash":       "bash",
		"dig":        "bind9-dnsutils",
		"getent":     "libc-bin",
		"hostname":   "hostname",
		"nc.openbsd": "netcat-openbsd",
		"nslookup":   "bind9-dnsutils",
		"printenv":   "coreutils",
		"wget":       "wget",
	}
}

// Requirements says in one line what is missing to run real nodes here.
func Requirements() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("real nodes need root: namespaces, mounts and cgroups")
	}
	var missing []string
	packages := map[string]bool{}
	for tool, debian := range tools() {
		if _, err := rootfs.Find(tool); err != nil && !packages[debian] {
			packages[debian] = true
			missing = append(missing, debian)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("real nodes need Debian packages that are missing: apt-get install --no-install-recommends %s", joinSorted(missing))
	}
	if _, err := findHierarchies("/proc/self/mountinfo"); err != nil {
		return fmt.Errorf("real nodes need cgroups: %w", err)
	}
	return nil
}

// environment is that of every program: nothing of the caller's leaks in, a proxy
// or a KUBECONFIG least of all.
func environment() []string {
	return []string{"PATH=" + rootfs.SearchPath, "HOME=/root", "LANG=C.UTF-8"}
}

func joinSorted(words []string) string {
	return strings.Join(sorted(words), " ")
}
