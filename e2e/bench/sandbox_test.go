package bench

import (
	"cmp"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/sandbox"
	"nestling.dev/nestling/pkg/simhost"
)

// pods of one burst.
const pods = 500

// TestBenchSandbox measures a tenant on the simulated host.
func TestBenchSandbox(t *testing.T) {
	Wanted(t)
	binary, err := filepath.Abs(cmp.Or(os.Getenv("NESTLING_BENCH_BINARY"), "../../bin/nestling"))
	require.NoError(t, err)
	s, err := sandbox.Start(t.Context(), sandbox.Options{
		Binary: binary, Tenants: []string{"bench"},
		Host: simhost.Options{Nodes: 10, PodParallelism: 32},
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Stop()) }()
	tenant, host := client(t, s.Tenant("bench").Config()), client(t, s.HostConfig())

	starts, err := StartTimes(t.Context(), tenant)
	require.NoError(t, err)
	Report(t, "sandbox: start by component: %s", starts)
	time.Sleep(Idle(t))
	used, err := MemoryOf(s.Tenant("bench").PID())
	require.NoError(t, err)
	Report(t, "sandbox: idle for %s: %s", Idle(t), used)

	for _, c := range []kubernetes.Interface{tenant, host} {
		_, err := c.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "burst"}}, metav1.CreateOptions{})
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			_, err := c.CoreV1().ServiceAccounts("burst").Get(t.Context(), "default", metav1.GetOptions{})
			return err == nil
		}, time.Minute, 50*time.Millisecond)
	}
	for round := range Rounds(t) {
		onHost := measure(t, s, func() (running, gone time.Duration, err error) { return burst(t.Context(), host, "burst", pods) })
		inTenant := measure(t, s, func() (running, gone time.Duration, err error) { return burst(t.Context(), tenant, "burst", pods) })
		Report(t, "sandbox: %d pods at once until all Running, round %d: tenant %.1f s, host %.1f s, ratio %.2f", pods, round+1,
			inTenant.running.Seconds(), onHost.running.Seconds(), inTenant.running.Seconds()/onHost.running.Seconds())
		Report(t, "sandbox: %d pods deleted at once until all gone, round %d: tenant %.1f s, host %.1f s, ratio %.2f", pods, round+1,
			inTenant.gone.Seconds(), onHost.gone.Seconds(), inTenant.gone.Seconds()/onHost.gone.Seconds())
		Report(t, "sandbox: processor time of both, round %d: in the tenant %.1f s (host's process) + %.1f s (tenant's), on the host %.1f s", round+1,
			inTenant.hostCPU.Seconds(), inTenant.tenantCPU.Seconds(), onHost.hostCPU.Seconds())
	}
	used, err = MemoryOf(s.Tenant("bench").PID())
	require.NoError(t, err)
	Report(t, "sandbox: after the bursts: %s", used)
}

// measured is one burst.
type measured struct{ running, gone, hostCPU, tenantCPU time.Duration }

func measure(t *testing.T, s *sandbox.Sandbox, run func() (running, gone time.Duration, err error)) measured {
	t.Helper()
	before := processorTime(t, s)
	running, gone, err := run()
	require.NoError(t, err)
	after := processorTime(t, s)
	return measured{running: running, gone: gone, hostCPU: after.hostCPU - before.hostCPU, tenantCPU: after.tenantCPU - before.tenantCPU}
}

func client(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	config = rest.CopyConfig(config)
	config.QPS = -1
	out, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	return out
}
