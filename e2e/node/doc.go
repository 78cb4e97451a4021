// Package node brings up a real Kubernetes node, or several, on one Linux machine:
// upstream's etcd, API server, controller manager and scheduler, and per node
// containerd, kubelet and kube-proxy, with real containers and real Service rules.
// Nothing is pulled and nothing leaves the machine.
//
//	root's network namespace        hub             node 0               node 1
//	tests, kubectl ── <name> veth ─ bridge ─┬─ eth0 172.30.S.2   ┌─ eth0 172.30.S.3
//	172.30.S.1                      .254    └────────────────────┘
//	routes: pods of node i via node i, Services via node 0
//
// Each node is a process ("holder") with a network and a mount namespace of its own;
// everything that belongs to it enters those. In its mount namespace /var/lib, /var/log
// and /run are the node's, so that two nodes and the machine's own containerd do not
// meet. The gateway of the nodes is the hub, which knows no way out: a packet
// for the outside gets "network unreachable" at once.
//
// Everything runs in one cgroup named after the directory. That is the whole of the
// cleaning up, after a crash too: kill what is in the cgroup, and the namespaces go
// with the processes, the mounts and interfaces with the namespaces.
//
// Read options.go for the surface, layout.go for the names and addresses, programs.go
// for the flags of each program, up.go and down.go for the order.
package node
