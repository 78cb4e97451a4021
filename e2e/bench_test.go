package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/e2e/bench"
	"nestling.dev/nestling/e2e/image"
	"nestling.dev/nestling/e2e/node"
	"nestling.dev/nestling/e2e/stories"
)

// TestBenchRealNode measures fresh tenants on a real node: from apply to the first
// answer, the start by component, and memory at rest.
func TestBenchRealNode(t *testing.T) {
	bench.Wanted(t)
	if err := node.Requirements(); err != nil {
		t.Skipf("no real node here: %v", err)
	}
	root, binary := product(t)
	host, release, err := node.Acquire(t.Context(), root, "bench", node.Options{Name: node.NameFor("ben", root), Images: []image.Image{node.Product(binary)}})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), downPatience)
		defer cancel()
		require.NoError(t, release(ctx))
	})
	hostConfig, err := host.RESTConfig()
	require.NoError(t, err)
	client := clientOf(t, hostConfig)
	_, err = client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: hostNamespace}}, metav1.CreateOptions{})
	require.NoError(t, err)
	installer := &installer{
		host: host, client: client, binary: binary, dir: t.TempDir(),
		report: func(line string) { bench.Report(t, "real node: %s", line) },
	}
	tenants := map[string]*stories.Tenant{}
	for _, name := range []string{"first", "second", "third"} {
		tenant, err := installer.install(t.Context(), name, ephemeral(0))
		require.NoError(t, err)
		tenants[name] = tenant
		starts, err := bench.StartTimes(t.Context(), tenant.Client)
		require.NoError(t, err)
		bench.Report(t, "real node: start of %s by component: %s", name, starts)
	}
	time.Sleep(bench.Idle(t))
	for _, name := range []string{"first", "second", "third"} {
		container, err := installer.container(t.Context(), name)
		require.NoError(t, err)
		pid, err := pidOf(container)
		require.NoError(t, err)
		used, err := bench.MemoryOf(pid)
		require.NoError(t, err)
		bench.Report(t, "real node: %s, idle for %s: %s", name, bench.Idle(t), used)
	}
	benchNames(t, client, tenants["first"])
}
