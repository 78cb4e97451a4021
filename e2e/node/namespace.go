package node

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// holdNode is the start of a node: in fresh network and mount namespaces, put the
// node's own directories in place, say so, and hold the namespaces open.
//
// The mounts are shared inside, for volumes with mount propagation, and slaves of
// the machine's, so that none gets out.
const holdNode = `set -e
mount --make-rshared /
mount --bind "$1/lib" /var/lib
mount --bind "$1/log" /var/log
mount -t tmpfs -o mode=755 tmpfs /run
echo ready
exec "$2" >/dev/null 2>&1 </dev/null`

// holdHub is the same without mounts.
const holdHub = `echo ready; exec "$2" >/dev/null 2>&1 </dev/null`

// hold starts a holder and returns its process id once its namespaces are as wanted.
func (l layout) hold(ctx context.Context, groups hierarchies, cgroup, script, dir string) (int, error) {
	// Not bound to ctx: the holder outlives this call and this process.
	command := groups.confined(context.WithoutCancel(ctx), cgroup,
		"/usr/bin/unshare", "--net", "--mount", "--propagation", "slave", "--",
		"/bin/sh", "-c", script, "sh", dir, l.program("pause"))
	command.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	stdout, err := command.StdoutPipe()
	if err != nil {
		return 0, err
	}
	messages := &strings.Builder{}
	command.Stderr = messages
	if err := command.Start(); err != nil {
		return 0, fmt.Errorf("node: namespaces: %w", err)
	}
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	if line != "ready\n" {
		err := command.Wait()
		return 0, fmt.Errorf("node: namespaces: %w: %s", err, strings.TrimSpace(messages.String()))
	}
	go func() { _ = command.Wait() }() // reap it, should it end before this process
	return command.Process.Pid, nil
}

func (l layout) holder(node int) int { return l.Holders[node+1] }

// inNode is a command in the namespaces and the cgroup of a node.
func (l layout) inNode(ctx context.Context, groups hierarchies, node int, argv ...string) *exec.Cmd {
	return groups.confined(ctx, l.nodeCgroup(node)+"/system", append(enter(l.holder(node)), argv...)...)
}

// inHub is a command in the network namespace of the hub.
func (l layout) inHub(ctx context.Context, groups hierarchies, argv ...string) *exec.Cmd {
	return groups.confined(ctx, l.cgroup()+"/hub", append(enter(l.Holders[0]), argv...)...)
}

// makeNodeDirs makes what holdNode mounts, and what the programs expect to find.
func (l layout) makeNodeDirs(node int) error {
	for _, dir := range []string{"lib/kubelet", "lib/containerd", "lib/cni", "log/pods", "cni"} {
		if err := os.MkdirAll(l.nodePath(node, dir), 0o755); err != nil {
			return err
		}
	}
	// Pods without cluster DNS get this; there is nobody to ask outside.
	return os.WriteFile(l.nodePath(node, "resolv.conf"), []byte("nameserver 127.0.0.1\n"), 0o644)
}
