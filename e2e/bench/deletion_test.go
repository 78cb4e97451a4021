package bench

import (
	"cmp"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes"

	"nestling.dev/nestling/e2e/requests"
	"nestling.dev/nestling/pkg/sandbox"
	"nestling.dev/nestling/pkg/simhost"
)

// settled is how long a burst is left alone before the next one is measured: events
// about it come late.
const settled = 5 * time.Second

// TestBenchNamespaceDeletion deletes a namespace with 500 running pods: in the tenant, and
// on the host itself, in one run. The tenant may take two seconds more.
//
// Upstream's namespace controller begins after 5 s, and looks again after a time that
// follows from the longest grace of a pod: 16 s for the default of 30 s, whatever the pods
// take. So there is a namespace of pods with a grace of 1 s, too, where the controller
// looks again at once and again.
func TestBenchNamespaceDeletion(t *testing.T) {
	Wanted(t)
	binary, err := filepath.Abs(cmp.Or(os.Getenv("NESTLING_BENCH_BINARY"), "../../bin/nestling"))
	require.NoError(t, err)
	s, err := sandbox.Start(t.Context(), sandbox.Options{
		Binary: binary, Tenants: []string{"bench"}, LogDir: os.Getenv("NESTLING_BENCH_LOGS"),
		Host: simhost.Options{Nodes: 10, PodParallelism: 32},
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Stop()) }()
	tenant, host := client(t, s.Tenant("bench").Config()), client(t, s.HostConfig())
	for round := range Rounds(t) {
		for _, grace := range []int64{30, 1} {
			name := "ended-" + strconv.FormatInt(grace, 10) + "-" + strconv.Itoa(round)
			onHost := measureDeletion(t, s, host, name, grace)
			inTenant := measureDeletion(t, s, tenant, name, grace)
			Report(t, "sandbox: a namespace with %d pods of %d s grace deleted, round %d: tenant %.1f s (pods gone after %.1f s), host %.1f s (%.1f s): %+.1f s", pods, grace, round+1,
				inTenant.took.namespace.Seconds(), inTenant.took.pods.Seconds(), onHost.took.namespace.Seconds(), onHost.took.pods.Seconds(),
				(inTenant.took.namespace - onHost.took.namespace).Seconds())
			Report(t, "sandbox: processor time of both, round %d: in the tenant %.1f s (host's process) + %.1f s (tenant's), on the host %.1f s", round+1,
				inTenant.hostCPU.Seconds(), inTenant.tenantCPU.Seconds(), onHost.hostCPU.Seconds())
			t.Logf("requests to the host's API for its own namespace: %s", onHost.host)
			t.Logf("requests to the host's API for the tenant's: %s", inTenant.host)
			t.Logf("requests to the tenant's API: %s", inTenant.tenant)
		}
	}
}

type measuredDeletion struct {
	took               ended
	hostCPU, tenantCPU time.Duration
	host, tenant       requests.Counts
}

func measureDeletion(t *testing.T, s *sandbox.Sandbox, client kubernetes.Interface, name string, grace int64) measuredDeletion {
	t.Helper()
	host, tenant := clientsOf(t, s)
	counts := func(of kubernetes.Interface) requests.Counts {
		counted, err := requests.Count(t.Context(), of)
		require.NoError(t, err)
		return counted
	}
	var before measured
	var hostBefore, tenantBefore requests.Counts
	took, err := namespaceDeletion(t.Context(), client, name, pods, &grace, func() error {
		time.Sleep(settled)
		hostBefore, tenantBefore = counts(host), counts(tenant)
		before = processorTime(t, s)
		return nil
	})
	require.NoError(t, err)
	after := processorTime(t, s)
	return measuredDeletion{
		took: took, hostCPU: after.hostCPU - before.hostCPU, tenantCPU: after.tenantCPU - before.tenantCPU,
		host: counts(host).Since(hostBefore), tenant: counts(tenant).Since(tenantBefore),
	}
}

func clientsOf(t *testing.T, s *sandbox.Sandbox) (host, tenant kubernetes.Interface) {
	t.Helper()
	return client(t, s.HostConfig()), client(t, s.Tenant("bench").Config())
}

// processorTime that both processes have used so far.
func processorTime(t *testing.T, s *sandbox.Sandbox) measured {
	t.Helper()
	host, err := cpuOf(os.Getpid())
	require.NoError(t, err)
	tenant, err := cpuOf(s.Tenant("bench").PID())
	require.NoError(t, err)
	return measured{hostCPU: host, tenantCPU: tenant}
}
