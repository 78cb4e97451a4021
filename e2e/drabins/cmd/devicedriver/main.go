// Command devicedriver has devices of no use, as a driver of dynamic resource allocation:
// it tells of those that are in use, and adds nothing to containers.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"
	"k8s.io/dynamic-resource-allocation/resourceslice"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "devicedriver:", err)
		os.Exit(1)
	}
}

func run() error {
	name := flag.String("name", "", "the driver's name")
	node := flag.String("node", "", "the name of the node")
	kubeconfig := flag.String("kubeconfig", "", "kubeconfig file")
	count := flag.Int("devices", 2, "number of devices")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	data := filepath.Join(kubeletplugin.KubeletPluginsDir, *name)
	if err := os.MkdirAll(data, 0o755); err != nil {
		return err
	}
	helper, err := kubeletplugin.Start(ctx, &driver{name: *name, client: client},
		kubeletplugin.DriverName(*name), kubeletplugin.NodeName(*node), kubeletplugin.KubeClient(client),
		kubeletplugin.PluginDataDirectoryPath(data))
	if err != nil {
		return err
	}
	defer helper.Stop()
	var devices []resourcev1.Device
	for number := range *count {
		devices = append(devices, resourcev1.Device{Name: fmt.Sprintf("device-%d", number)})
	}
	if err := helper.PublishResources(ctx, resourceslice.DriverResources{Pools: map[string]resourceslice.Pool{
		*node: {Slices: []resourceslice.Slice{{Devices: devices}}},
	}}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
