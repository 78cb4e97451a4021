package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/e2e/addon/cloud"
	"nestling.dev/nestling/e2e/addon/dra"
	"nestling.dev/nestling/e2e/addon/enforcer"
	"nestling.dev/nestling/e2e/addon/metricsserver"
	"nestling.dev/nestling/e2e/application"
	"nestling.dev/nestling/e2e/image"
	"nestling.dev/nestling/e2e/node"
	"nestling.dev/nestling/e2e/operators"
	"nestling.dev/nestling/e2e/stories"
)

const (
	// outage is longer than any back-off that one could sit out.
	outage = time.Minute
	// nodeName is the directory's under .cache.
	nodeName = "stories"
	// downPatience is how long taking down the node may take.
	downPatience = 2 * time.Minute
)

// TestRealNode tells the stories with real containers.
func TestRealNode(t *testing.T) {
	if os.Getenv(realTests) == "" {
		t.Skip("real nodes only with " + realTests + "=1, see make e2e")
	}
	root, binary := product(t)
	volumes := t.TempDir() // outlives the node, see the order of clean-ups
	host, release, err := node.Acquire(t.Context(), root, nodeName, node.Options{Name: node.NameFor("e2e", root), Images: []image.Image{node.Product(binary)}})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), downPatience)
		defer cancel()
		require.NoError(t, release(ctx))
	})
	startStorage(t, root, host) // and stopped after the tenants have left
	stories.Run(t, realWorld(t, root, binary, host, volumes))
}

// restoreOn feeds rules to iptables on every node.
func restoreOn(host *node.Host) func(ctx context.Context, input string) error {
	return func(ctx context.Context, input string) error {
		for i := range host.NodeNames() {
			command := host.Command(ctx, i, "iptables-restore", "--noflush")
			command.Stdin = strings.NewReader(input)
			if out, err := command.CombinedOutput(); err != nil {
				return fmt.Errorf("iptables-restore: %w: %s", err, out)
			}
		}
		return nil
	}
}

func realWorld(t *testing.T, root, binary string, host *node.Host, volumes string) *stories.World {
	t.Helper()
	hostConfig, err := host.RESTConfig()
	require.NoError(t, err)
	client := clientOf(t, hostConfig)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: hostNamespace}}
	_, err = client.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) { // on a kept node, after a run that was cut off
		require.NoError(t, err)
	}
	driver, err := dra.Build(t.Context(), root)
	require.NoError(t, err)
	devices, err := dra.Start(t.Context(), host, driver)
	require.NoError(t, err)
	t.Cleanup(devices.Stop) // after the tenants have left: kubelet needs it to end their pods
	around := hostDNS(t, host, client)
	installer := &installer{
		corp: around.corp,
		host: host, client: client, binary: binary, dir: t.TempDir(), volumes: volumes,
		report: newFigures(t, root, "real").report,
	}
	t.Cleanup(func() {
		installer.collect(filepath.Join(root, ".cache", nodeName+"-tenants"))
		if os.Getenv(node.KeptNode) != "" {
			require.NoError(t, installer.leave())
		}
	})

	app, err := application.Build(t.Context(), root)
	require.NoError(t, err)
	set, err := operators.Build(t.Context(), root, operators.Tools{Kubectl: host.Kubectl(t.Context()).Path, Helm: app.Helm})
	require.NoError(t, err)
	for _, image := range set.Images() {
		require.NoError(t, host.ImportImage(t.Context(), image))
	}

	for _, image := range app.Images() {
		require.NoError(t, host.ImportImage(t.Context(), image))
	}

	upgrade := node.Product(binary)
	upgrade.Name += "-next"
	require.NoError(t, host.ImportImage(t.Context(), upgrade))

	metricsServer, err := metricsserver.Build(t.Context(), root)
	require.NoError(t, err)
	require.NoError(t, host.ImportImage(t.Context(), metricsServer.Image()))
	require.NoError(t, metricsServer.Install(t.Context(), host))

	// One on a volume, as manifests have it by default, and one that forgets.
	a, err := installer.install(t.Context(), tenantA, persistent())
	require.NoError(t, err)
	b, err := installer.install(t.Context(), tenantB, ephemeral(rotateAt))
	require.NoError(t, err)
	d, err := installer.install(t.Context(), tenantD, namespaced())
	require.NoError(t, err)
	platform, stop, err := cloud.Start(t.Context(), hostConfig, true)
	require.NoError(t, err)
	t.Cleanup(stop)
	stop, err = enforcer.Start(t.Context(), enforcer.Options{Host: hostConfig, Restore: restoreOn(host)})
	require.NoError(t, err)
	t.Cleanup(stop)
	return &stories.World{
		Host: client, HostConfig: hostConfig, HostKubeconfig: host.Kubeconfig(), HostNamespace: hostNamespace,
		A: a, B: b, Rotating: b, Namespaced: d,
		Cloud: platform, Enforces: true, DeviceDriver: dra.Driver,
		Real: true, Image: node.ToolsImage, Kubectl: host.Kubectl(t.Context()).Path,
		Program: binary, ProductImage: node.ProductImage,
		ProductImageUpgrade: upgrade.Name, Chart: filepath.Join(root, "manifests", "chart", "nestling"),
		Kill: installer.kill, Restart: installer.restart,
		DialFrom:    dialFrom,
		StopHostAPI: host.StopAPIServer, StartHostAPI: host.StartAPIServer, Outage: outage,
		Install: func(ctx context.Context, name string) (*stories.Tenant, error) {
			return installer.install(ctx, name, ephemeral(0))
		},
		Uninstall: installer.uninstall,
		Operators: set, Application: app,
		Report: installer.report,
	}
}
