package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"nestling.dev/nestling/e2e/addon/cloud"
	"nestling.dev/nestling/e2e/application"
	"nestling.dev/nestling/e2e/stories"
	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/pkg/sandbox"
)

// outageInSandbox is long enough for watches to break and back-off to grow.
const outageInSandbox = 15 * time.Second

// TestSandbox tells the stories on the simulated host, as a normal user.
func TestSandbox(t *testing.T) {
	if os.Getenv(realTests) != "" {
		t.Skip("the sandbox is for make test, not for make e2e")
	}
	root, binary := product(t)
	// The host lives in this process, and says more than a test has to say.
	require.NoError(t, controlplane.SetGlobals(controlplane.Globals{Quiet: true}))
	logs := filepath.Join(root, ".cache", "sandbox-test-logs")
	require.NoError(t, os.RemoveAll(logs))
	require.NoError(t, os.MkdirAll(logs, 0o755))
	names := startNames(t, "127.0.0.1", simhostAPI)
	box, err := sandbox.Start(t.Context(), sandbox.Options{
		Binary: binary, LogDir: logs, Namespace: hostNamespace,
		// All from the beginning: a sandbox does not grow.
		Tenants: []string{tenantA, tenantB, tenantC, tenantD},
		Configure: func(tenant string, file *config.Config) {
			file.DNS.Upstream, file.DNS.StubDomains = []string{names.upstream}, map[string][]string{"corp.example": {names.corp}}
			file.Metrics.ScrapeSecret = true
			if tenant == tenantB {
				file.Sync.ServiceAccountTokens.RotateAt = rotateAt
			}
			if tenant == tenantD {
				operator := stories.OperatorSettings()
				file.Sync.ServiceAccounts, file.Pods, file.InitialObjects = true, operator.Pods, operator.InitialObjects
			}
		},
		Install: func(tenant string, options *deploy.Options) { options.Namespaced = tenant == tenantD },
		Observe: func(step string, took time.Duration) { t.Logf("%s: %s", step, took.Round(time.Millisecond)) },
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, box.Stop()) })

	app, err := application.Build(t.Context(), root)
	require.NoError(t, err)
	world := sandboxWorld(t, root, box)
	world.Application = app
	// First: after the outage among the stories, the host's own authorizer may not know
	// for half a minute what was granted since.
	t.Run("bad input", func(t *testing.T) { badInput(t, binary, world) })
	t.Run("stories", func(t *testing.T) { stories.Run(t, world) })
}

func sandboxWorld(t *testing.T, root string, box *sandbox.Sandbox) *stories.World {
	t.Helper()
	dir := t.TempDir()
	kubeconfig, err := box.HostKubeconfig()
	require.NoError(t, err)
	hostKubeconfig := filepath.Join(dir, "host.kubeconfig")
	require.NoError(t, os.WriteFile(hostKubeconfig, kubeconfig, 0o600))
	a, err := tenant(dir, tenantA, "", box.Tenant(tenantA).Kubeconfig())
	require.NoError(t, err)
	b, err := tenant(dir, tenantB, "", box.Tenant(tenantB).Kubeconfig())
	require.NoError(t, err)
	d, err := tenant(dir, tenantD, "", box.Tenant(tenantD).Kubeconfig())
	require.NoError(t, err)
	platform, stop, err := cloud.Start(t.Context(), box.HostConfig(), false)
	require.NoError(t, err)
	t.Cleanup(stop)
	w := &stories.World{
		Host: clientOf(t, box.HostConfig()), HostConfig: box.HostConfig(), HostKubeconfig: hostKubeconfig, HostNamespace: hostNamespace,
		A: a, B: b, Rotating: b, Namespaced: d,
		Cloud:  platform,
		Image:  "simulated.example/tools:1",
		Outage: outageInSandbox,
		Report: newFigures(t, root, "sandbox").report,
	}
	w.Kill = func(ctx context.Context, name string) error {
		box.Tenant(name).Kill()
		return box.Tenant(name).Restart(ctx)
	}
	w.Restart = func(ctx context.Context, name string) (time.Duration, error) { return restart(ctx, box.Tenant(name)) }
	w.DNSAddress = func(name string) string { return box.Tenant(name).DNSAddress() }
	w.StopHostAPI = func(context.Context) error { box.Host().StopAPI(); return nil }
	w.StartHostAPI = box.Host().StartAPI
	w.StopNode, w.StartNode = box.Host().StopNode, box.Host().StartNode
	w.Install = func(_ context.Context, name string) (*stories.Tenant, error) {
		if box.Tenant(name) == nil {
			return nil, fmt.Errorf("the sandbox has no tenant %s", name)
		}
		return tenant(dir, name, "", box.Tenant(name).Kubeconfig())
	}
	w.Uninstall = func(ctx context.Context, name string) error {
		return errors.Join(deleteManifests(ctx, box.HostConfig(), name), box.Tenant(name).Stop())
	}
	return w
}

// restart is what a rollout does to the pod.
func restart(ctx context.Context, tenant *sandbox.Tenant) (time.Duration, error) {
	begin := time.Now()
	if err := syscall.Kill(tenant.PID(), syscall.SIGTERM); err != nil {
		return 0, err
	}
	select {
	case <-tenant.Ended():
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	stopped := time.Since(begin)
	return stopped, tenant.Restart(ctx)
}
