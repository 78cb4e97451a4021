package node

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// realTests says that tests may bring up real nodes; `make e2e` sets it.
const realTests = "NESTLING_E2E"

// crashDir makes this test binary a harness that brings up a host there and then
// waits to be killed.
const crashDir = "NESTLING_NODE_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		_, err := Up(context.Background(), Options{Dir: dir, Name: NameFor("die", dir), Programs: os.Getenv("NESTLING_NODE_PROGRAMS")})
		fmt.Println("up:", err)
		select {}
	}
	os.Exit(m.Run())
}

// programs skips the test where real nodes are not wanted, and builds what they need.
func programs(t *testing.T) (root, dir string) {
	t.Helper()
	if os.Getenv(realTests) == "" {
		t.Skip("real nodes only with " + realTests + "=1, see make e2e")
	}
	require.NoError(t, Requirements())
	root, err := Root(t.Context())
	require.NoError(t, err)
	dir, err = Build(t.Context(), root)
	require.NoError(t, err)
	return root, dir
}

const workload = `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: web, image: ` + AgnhostImage + `, args: [netexec, --http-port=8080]}
      - {name: tools, image: ` + ToolsImage + `}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
`

// TestTwoNodes is one story in order: each part needs what the one before left.
func TestTwoNodes(t *testing.T) {
	root, binaries := programs(t)
	dir := filepath.Join(root, ".cache", "node-test")
	host, err := Up(t.Context(), Options{Dir: dir, Name: NameFor("two", root), Nodes: 2, Programs: binaries})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, host.Down(context.Background())) })

	apply := host.Kubectl(t.Context(), "apply", "-f", "-")
	apply.Stdin = strings.NewReader(workload)
	require.NoError(t, run(apply))
	kubectl(t, host, "rollout", "status", "daemonset/web", "--timeout=5m")

	client, err := host.Client()
	require.NoError(t, err)
	pods, err := client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, pods.Items, 2)
	service, err := client.CoreV1().Services("default").Get(t.Context(), "web", metav1.GetOptions{})
	require.NoError(t, err)

	t.Run("each node has its pod network", func(t *testing.T) {
		for _, pod := range pods.Items {
			node, err := client.CoreV1().Nodes().Get(t.Context(), pod.Spec.NodeName, metav1.GetOptions{})
			require.NoError(t, err)
			_, network, err := net.ParseCIDR(node.Spec.PodCIDR)
			require.NoError(t, err)
			require.True(t, network.Contains(net.ParseIP(pod.Status.PodIP)), "%s in %s", pod.Status.PodIP, network)
		}
	})
	t.Run("the test process reaches pods and Services", func(t *testing.T) {
		for _, pod := range pods.Items {
			require.Equal(t, pod.Name, get(t, "http://"+net.JoinHostPort(pod.Status.PodIP, "8080")+"/hostname"))
		}
		require.Contains(t, get(t, "http://"+service.Spec.ClusterIP+"/hostname"), "web-")
	})
	t.Run("pods reach pods of the other node, Services and the API", func(t *testing.T) {
		for i := range pods.Items {
			from, to := pods.Items[i].Name, pods.Items[1-i]
			require.Equal(t, to.Name, getFrom(t, host, from, to.Status.PodIP+":8080/hostname"))
			require.Contains(t, getFrom(t, host, from, service.Spec.ClusterIP+"/hostname"), "web-")
			require.Contains(t, kubectl(t, host, "exec", from, "-c", "tools", "--", "kubectl", "auth", "whoami"), "system:serviceaccount:default:default")
		}
	})
	t.Run("pods have no way out, and learn it at once", func(t *testing.T) {
		begin := time.Now()
		out := host.Kubectl(t.Context(), "exec", pods.Items[0].Name, "-c", "tools", "--", "agnhost", "connect", "--timeout=10s", "192.0.2.1:80")
		require.ErrorContains(t, run(out), "network is unreachable")
		require.Less(t, time.Since(begin), 8*time.Second)
	})
	t.Run("logs and exit codes come back", func(t *testing.T) {
		require.Contains(t, kubectl(t, host, "logs", pods.Items[0].Name, "-c", "web"), "Started HTTP server")
		err := host.Kubectl(t.Context(), "exec", pods.Items[0].Name, "-c", "tools", "--", "sh", "-c", "exit 3").Run()
		exit := &exec.ExitError{}
		require.ErrorAs(t, err, &exit)
		require.Equal(t, 3, exit.ExitCode())
	})
	t.Run("the API server stops and starts under running pods", func(t *testing.T) {
		require.NoError(t, host.StopAPIServer(t.Context()))
		require.Error(t, client.Discovery().RESTClient().Get().AbsPath("/livez").Do(t.Context()).Error())
		require.Contains(t, get(t, "http://"+service.Spec.ClusterIP+"/hostname"), "web-")
		require.NoError(t, host.StartAPIServer(t.Context()))
		after, err := client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		for i := range after.Items {
			require.Equal(t, pods.Items[i].UID, after.Items[i].UID)
			require.Zero(t, after.Items[i].Status.ContainerStatuses[0].RestartCount)
		}
	})
	t.Run("another process finds the host", func(t *testing.T) {
		again, err := Open(dir)
		require.NoError(t, err)
		require.Equal(t, host.Kubeconfig(), again.Kubeconfig())
		require.NoError(t, run(again.Command(t.Context(), 1, "/bin/sh", "-c", "ip -brief address show dev eth0 | grep -q "+host.NodeAddress(1)+"/")))
	})
	t.Run("another directory cannot take the name", func(t *testing.T) {
		_, err := Up(t.Context(), Options{Dir: filepath.Join(root, ".cache", "node-test-2"), Name: NameFor("two", root), Programs: binaries})
		require.ErrorContains(t, err, "choose another name")
	})
	t.Run("down leaves nothing", func(t *testing.T) {
		require.NoError(t, host.Down(t.Context()))
		requireNothingLeft(t, dir)
		_, err := Open(dir)
		require.Error(t, err)
	})
}

// TestCrash kills the harness with everything up or half up, and takes down what it left.
func TestCrash(t *testing.T) {
	root, binaries := programs(t)
	dir := filepath.Join(root, ".cache", "node-crash")
	for _, witness := range []string{"state.json", "pids/kube-scheduler", "nodes/" + NameFor("die", dir) + "-0/lib/kubelet/pods"} {
		t.Run("after "+filepath.Base(witness), func(t *testing.T) {
			harness := exec.CommandContext(t.Context(), "/proc/self/exe")
			harness.Env = append(os.Environ(), crashDir+"="+dir, "NESTLING_NODE_PROGRAMS="+binaries)
			require.NoError(t, harness.Start())
			err := poll(t.Context(), witness, startTimeout, func(context.Context) error {
				_, err := os.Stat(filepath.Join(dir, witness))
				return err
			})
			require.NoError(t, harness.Process.Kill())
			_ = harness.Wait()
			require.NoError(t, err)
			require.NoError(t, Down(t.Context(), dir))
			requireNothingLeft(t, dir)
		})
	}
}

// requireNothingLeft looks for whatever of a host could outlive it.
func requireNothingLeft(t *testing.T, dir string) {
	t.Helper()
	groups, err := findHierarchies("/proc/self/mountinfo")
	require.NoError(t, err)
	for _, point := range groups.points {
		require.NoDirExists(t, filepath.Join(point, cgroupName(dir)))
	}
	interfaces, err := net.Interfaces()
	require.NoError(t, err)
	for _, link := range interfaces {
		owner, err := linkOwner(link.Name)
		require.NoError(t, err)
		require.NotEqual(t, dir, owner, "interface %s", link.Name)
	}
	rules, err := iptables(t.Context(), "--list-rules").Output()
	require.NoError(t, err)
	require.NotContains(t, string(rules), cgroupName(dir))
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	require.NotContains(t, string(mounts), dir+"/")
	for _, name := range content {
		require.NoFileExists(t, filepath.Join(dir, name))
		require.NoDirExists(t, filepath.Join(dir, name))
	}
}

func kubectl(t *testing.T, host *Host, args ...string) string {
	t.Helper()
	command := host.Kubectl(t.Context(), args...)
	messages := &strings.Builder{}
	command.Stderr = messages
	output, err := command.Output()
	require.NoError(t, err, "kubectl %s: %s", strings.Join(args, " "), messages)
	return string(output)
}

// get asks until it is answered: a Service has its rules a moment after its pods are
// ready, and a connection that began before never meets them.
func get(t *testing.T, url string) string {
	t.Helper()
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	var body []byte
	require.NoError(t, poll(t.Context(), url, 30*time.Second, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err = io.ReadAll(response.Body)
		return err
	}))
	return string(body)
}

// getFrom is get from inside a pod, whose node learns of a Service by itself.
func getFrom(t *testing.T, host *Host, pod, url string) string {
	t.Helper()
	var body []byte
	require.NoError(t, poll(t.Context(), url+" from "+pod, startTimeout, func(ctx context.Context) error {
		command := host.Kubectl(ctx, "exec", pod, "-c", "tools", "--", "curl", "-sS", "-m", "5", url)
		messages := &strings.Builder{}
		command.Stderr = messages
		var err error
		if body, err = command.Output(); err != nil {
			return fmt.Errorf("%w: %s", err, messages)
		}
		return nil
	}))
	return string(body)
}
