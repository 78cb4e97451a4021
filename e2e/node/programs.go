package node

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"text/template"
)

//go:embed config
var configFiles embed.FS

// program is a long-running program of the host, as it can be started again at any time.
type program struct {
	Name string
	// Node whose namespaces it runs in.
	Node int
	Argv []string
}

// controlPlane runs on node 0, so that webhooks and aggregated APIs are reached by
// ClusterIP through that node's kube-proxy.
func (l layout) controlPlane() []program {
	return []program{
		{Name: "etcd", Argv: l.hostkube("etcd",
			"--name=host",
			"--data-dir="+l.path("etcd"),
			"--unsafe-no-fsync", // the data is worth nothing after a crash
			"--listen-client-urls=http://127.0.0.1:2379",
			"--advertise-client-urls=http://127.0.0.1:2379",
			"--listen-peer-urls=http://127.0.0.1:2380",
			"--initial-advertise-peer-urls=http://127.0.0.1:2380",
			"--initial-cluster=host=http://127.0.0.1:2380",
			"--quota-backend-bytes=4294967296",
			"--log-level=warn",
		)},
		{Name: apiServer, Argv: l.hostkube("kube-apiserver",
			"--etcd-servers=http://127.0.0.1:2379",
			"--bind-address=0.0.0.0",
			"--advertise-address="+l.address(0),
			"--secure-port=6443",
			"--tls-cert-file="+l.pki("apiserver.crt"),
			"--tls-private-key-file="+l.pki("apiserver.key"),
			"--client-ca-file="+l.pki("ca.crt"),
			"--service-account-key-file="+l.pki("sa.pub"),
			"--service-account-signing-key-file="+l.pki("sa.key"),
			"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
			"--authorization-mode=Node,RBAC",
			"--enable-admission-plugins=NodeRestriction",
			"--allow-privileged=true",
			"--service-cluster-ip-range="+l.serviceCIDR(),
			"--kubelet-client-certificate="+l.pki("apiserver-kubelet-client.crt"),
			"--kubelet-client-key="+l.pki("apiserver-kubelet-client.key"),
			"--kubelet-certificate-authority="+l.pki("ca.crt"),
			// Node names resolve nowhere.
			"--kubelet-preferred-address-types=InternalIP",
			"--requestheader-client-ca-file="+l.pki("front-proxy-ca.crt"),
			"--requestheader-allowed-names=front-proxy-client",
			"--requestheader-username-headers=X-Remote-User",
			"--requestheader-group-headers=X-Remote-Group",
			"--requestheader-extra-headers-prefix=X-Remote-Extra-",
			"--proxy-client-cert-file="+l.pki("front-proxy-client.crt"),
			"--proxy-client-key-file="+l.pki("front-proxy-client.key"),
			"--max-requests-inflight=2000",
			"--max-mutating-requests-inflight=1000",
			// Without it an open watch holds a stopping server for a minute.
			"--shutdown-watch-termination-grace-period=3s",
		)},
		{Name: "kube-controller-manager", Argv: l.hostkube("kube-controller-manager",
			"--kubeconfig="+l.kubeconfig("kube-controller-manager"),
			"--leader-elect=false",
			"--use-service-account-credentials=true",
			"--service-account-private-key-file="+l.pki("sa.key"),
			"--root-ca-file="+l.pki("ca.crt"),
			"--cluster-signing-cert-file="+l.pki("ca.crt"),
			"--cluster-signing-key-file="+l.pki("ca.key"),
			// Nodes are created with their pod networks: CNI's configuration must agree.
			"--allocate-node-cidrs=false",
			"--kube-api-qps=200", "--kube-api-burst=400",
		)},
		{Name: "kube-scheduler", Argv: l.hostkube("kube-scheduler",
			"--kubeconfig="+l.kubeconfig("kube-scheduler"),
			"--leader-elect=false",
			"--kube-api-qps=200", "--kube-api-burst=400",
		)},
	}
}

// nodePrograms run on every node.
func (l layout) nodePrograms(i int) []program {
	name := l.nodeName(i)
	return []program{
		{Name: "containerd-" + name, Node: i, Argv: []string{"/usr/bin/env", "containerd", "--config=" + l.nodePath(i, "containerd.toml")}},
		{Name: "kubelet-" + name, Node: i, Argv: append([]string{"/usr/bin/unshare", "--mount", "--propagation", "unchanged", "--", "/bin/sh", "-c", ownSysctls, "sh"}, l.hostkube("kubelet",
			"--config="+l.nodePath(i, "kubelet.yaml"),
			"--kubeconfig="+l.kubeconfig("kubelet-"+name),
			"--hostname-override="+name,
			"--node-ip="+l.address(i),
			"--v=2",
		)...)},
		{Name: "kube-proxy-" + name, Node: i, Argv: l.hostkube("kube-proxy", "--config="+l.nodePath(i, "proxy.yaml"))},
	}
}

// ownSysctls gives kubelet copies of the sysctls that it sets for the whole machine,
// reboot after a panic among them. Only /proc is private to it: what it mounts for
// volumes must reach containerd.
const ownSysctls = `set -e
mount --make-rprivate /proc
mkdir -p /run/sysctl
for name in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
  copy=/run/sysctl/$(basename $name)
  cat /proc/sys/$name > $copy
  mount --bind $copy /proc/sys/$name
done
exec "$@"`

const apiServer = "kube-apiserver"

func (l layout) hostkube(args ...string) []string {
	return append([]string{l.program("hostkube")}, args...)
}

// allPrograms in the order of starting.
func (l layout) allPrograms() []program {
	all := l.controlPlane()
	for i := range l.Nodes {
		all = append(all, l.nodePrograms(i)...)
	}
	return all
}

func (l layout) find(name string) (program, error) {
	for _, p := range l.allPrograms() {
		if p.Name == name {
			return p, nil
		}
	}
	return program{}, fmt.Errorf("node: no program %q here", name)
}

// nodeConfig is what the templates in config/ are about.
type nodeConfig struct {
	Dir, PKI, Name, Cgroup                                  string
	PodCIDR, PodNetwork, ClusterDNS, PauseImage, CNIPlugins string
}

func (l layout) writeNodeConfig(i int) error {
	values := nodeConfig{
		Dir: l.nodePath(i), PKI: l.path("pki"), Name: l.nodeName(i), Cgroup: l.nodeCgroup(i),
		PodCIDR: l.podCIDR(i), PodNetwork: l.podNetwork(), ClusterDNS: l.clusterDNS(),
		PauseImage: PauseImage, CNIPlugins: cniPlugins,
	}
	for source, target := range map[string]string{
		"containerd.toml": "containerd.toml",
		"cni.conflist":    "cni/10-pods.conflist",
		"kubelet.yaml":    "kubelet.yaml",
		"proxy.yaml":      "proxy.yaml",
	} {
		parsed, err := template.New(source).Option("missingkey=error").ParseFS(configFiles, "config/"+source)
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if err := parsed.Execute(&out, values); err != nil {
			return err
		}
		if err := os.WriteFile(l.nodePath(i, target), out.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}
