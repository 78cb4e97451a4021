// Tmpfsdriver is a CSI driver for tests: a volume is a tmpfs of its size, mounted for as
// long as the volume exists, so that its data outlives pods, and `df` shows how it grows.
// Copies and snapshots are real copies. It registers with kubelet itself.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

func main() {
	name := flag.String("name", "", "name of the driver")
	node := flag.String("node", "", "name of the node, which is the topology of volumes too")
	data := flag.String("data", "", "directory of volumes and snapshots, which share its fate")
	kubelet := flag.String("kubelet", "/var/lib/kubelet", "kubelet's directory")
	flag.Parse()
	if err := run(*name, *node, *data, *kubelet); err != nil {
		fmt.Fprintln(os.Stderr, "tmpfsdriver:", err)
		os.Exit(1)
	}
}

func run(name, node, data, kubelet string) error {
	d := &driver{name: name, node: node, data: data}
	for _, dir := range []string{d.path(volumesDir), d.path(snapshotsDir), filepath.Join(kubelet, "plugins", name), filepath.Join(kubelet, "plugins_registry")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	endpoint := filepath.Join(kubelet, "plugins", name, "csi.sock")
	failed := make(chan error, 2)
	serve := func(socket string, register func(*grpc.Server)) error {
		if err := os.RemoveAll(socket); err != nil {
			return err
		}
		listener, err := net.Listen("unix", socket)
		if err != nil {
			return err
		}
		server := grpc.NewServer()
		register(server)
		go func() { failed <- server.Serve(listener) }()
		return nil
	}
	if err := serve(endpoint, func(server *grpc.Server) {
		csi.RegisterIdentityServer(server, d)
		csi.RegisterControllerServer(server, d)
		csi.RegisterNodeServer(server, d)
	}); err != nil {
		return err
	}
	if err := serve(filepath.Join(kubelet, "plugins_registry", name+"-reg.sock"), func(server *grpc.Server) {
		registration.RegisterRegistrationServer(server, &registrar{name: name, endpoint: endpoint})
	}); err != nil {
		return err
	}
	return <-failed
}
