package sandbox

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Two tenants on one host, as everybody who uses this package has them. The
// stories run one after the other; the last ones do harm.
func TestSandbox(t *testing.T) {
	binary, err := filepath.Abs("../../bin/nestling")
	require.NoError(t, err)
	if _, err := os.Stat(binary); err != nil {
		t.Skip("bin/nestling is not built: make build")
	}
	s, err := Start(t.Context(), Options{
		Binary:  binary,
		LogDir:  t.TempDir(),
		Tenants: []string{"team-a", "team-b"},
		Observe: func(step string, took time.Duration) { t.Logf("%-24s %s", step, took.Round(time.Millisecond)) },
	})
	require.NoError(t, err)
	dir := s.opts.Dir
	t.Cleanup(func() {
		require.NoError(t, s.Stop())
		require.NoError(t, s.Stop(), "twice does no harm")
		require.NoDirExists(t, dir)
	})
	hostClient, err := kubernetes.NewForConfig(s.HostConfig())
	require.NoError(t, err)

	t.Run("the same pod in both", func(t *testing.T) {
		for _, tenant := range []*Tenant{s.Tenant("team-a"), s.Tenant("team-b")} {
			createPod(t, tenant, "web")
		}
		for _, tenant := range []*Tenant{s.Tenant("team-a"), s.Tenant("team-b")} {
			podRuns(t, tenant, "web")
		}
		pods, err := hostClient.CoreV1().Pods(s.Namespace()).List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		require.Len(t, pods.Items, 2)
	})

	t.Run("the process has its ServiceAccount's rights and no more", func(t *testing.T) {
		config, err := serviceAccountConfig(t.Context(), s.HostConfig(), s.Namespace(), "team-a")
		require.NoError(t, err)
		client, err := kubernetes.NewForConfig(config)
		require.NoError(t, err)
		_, err = client.CoreV1().Pods(s.Namespace()).List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		_, err = client.CoreV1().Pods("kube-system").List(t.Context(), metav1.ListOptions{})
		require.ErrorContains(t, err, "system:serviceaccount:nestling:team-a")
	})

	t.Run("a killed process comes back with its data", func(t *testing.T) {
		tenant := s.Tenant("team-a")
		before := tenant.PID()
		tenant.Kill()
		<-tenant.Ended()
		require.ErrorContains(t, tenant.Failure(), "tenant team-a: ended: signal: killed")
		require.NoError(t, tenant.Restart(t.Context()))
		require.NotEqual(t, before, tenant.PID())
		podRuns(t, tenant, "web")
	})

	t.Run("the host's API stops for a while", func(t *testing.T) {
		tenant := s.Tenant("team-b")
		s.Host().StopAPI()
		createPod(t, tenant, "during") // its own API answers
		require.NoError(t, s.Host().StartAPI(t.Context()))
		podRuns(t, tenant, "during")
	})
}

func podClient(t *testing.T, tenant *Tenant) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(tenant.Config())
	require.NoError(t, err)
	return client
}

func createPod(t *testing.T, tenant *Tenant, name string) {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "image"}}},
	}
	_, err := podClient(t, tenant).CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
}

func podRuns(t *testing.T, tenant *Tenant, name string) {
	t.Helper()
	virtualClient := podClient(t, tenant)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		pod, err := virtualClient.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		require.NoError(t, err)
		if pod.Status.Phase == corev1.PodRunning {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("pod %s of %s: %s", name, tenant.Name(), pod.Status.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func TestBadOptions(t *testing.T) {
	t.Parallel()
	for want, opts := range map[string]Options{
		`sandbox: tenant: "A_b" is not a DNS label`:   {Tenants: []string{"A_b"}},
		`sandbox: tenant: "a" is there twice`:         {Tenants: []string{"a", "a"}},
		`the program that a tenant runs: stat /none:`: {Binary: "/none"},
	} {
		_, err := Start(t.Context(), opts)
		require.ErrorContains(t, err, want)
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"PATH=/bin", "TMPDIR=/tmp"}, environment([]string{
		"PATH=/bin", "NESTLING_TENANT=other", "KUBERNETES_SERVICE_HOST=10.0.0.1", "KUBECONFIG=/k", "POD_IP=10.0.0.2", "TMPDIR=/tmp",
	}))
}

func TestLastLine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	require.Empty(t, lastLine(path))
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.Empty(t, lastLine(path))
	require.NoError(t, os.WriteFile(path, []byte("first\nnestling: last words\n\n"), 0o600))
	require.Equal(t, "nestling: last words", lastLine(path))
}
