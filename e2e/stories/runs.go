package stories

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/e2e/pipelines"
	"nestling.dev/nestling/pkg/collect"
	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/pkg/tunnel"
	"nestling.dev/nestling/syncer/resource"
)

// Runs are the stories of those who come with a command, and want a cluster for it.
func Runs() []Story {
	return []Story{
		{Name: "a run ends with its command's code, and leaves nothing", Real: true, Run: runEnds},
		{Name: "a run that is killed leaves nothing once its time is over", Real: true, Run: runKilled},
		{Name: "a run that is asked to end deletes its tenant", Real: true, Run: runInterrupted},
		{Name: "a tunnel outlives the pod at its end", Real: true, Run: tunnelOutlives},
		{Name: "a tunnel carries many connections to a pod of the host", Run: tunnelCarries},
		{Name: "runs of a test suite side by side", Real: true, Run: func(t *testing.T, w *World) { SideBySide(t, w, 3) }},
		{Name: "the templates for CI systems do what they say", Real: true, Run: templates},
		{Name: "a report holds both sides of a tenant, and none of its secrets", Run: reports},
	}
}

// suite is a small test suite: it makes things, waits for them, looks inside, and removes them.
const suite = `set -e
kubectl create configmap settings --from-literal=greeting=hello
kubectl create deployment web --image=IMAGE --replicas=2
kubectl set env deployment/web --from=configmap/settings
kubectl rollout status deployment/web ` + kubectlPatience + `
test "$(kubectl exec deployment/web -- sh -c 'echo $GREETING')" = hello
kubectl delete deployment web --wait --timeout=5m`

// nestling is our program as its user runs it: kubectl is at hand, the host's kubeconfig in the environment.
func (w *World) nestling(ctx context.Context, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, w.Program, args...)
	command.Env = w.environment()
	return command
}

func (w *World) environment() []string {
	path := strings.Join([]string{filepath.Dir(w.Program), filepath.Dir(w.Kubectl), os.Getenv("PATH")}, ":")
	return []string{"PATH=" + path, "KUBECONFIG=" + w.HostKubeconfig, "HOME=/nonexistent", "KUBECACHEDIR=" + os.TempDir()}
}

// running are the arguments of a run of a script.
func (w *World) running(name, script string, flags ...string) []string {
	args := append([]string{"run", name, "-n", w.HostNamespace, "--ephemeral", "--image", w.ProductImage}, flags...)
	return append(args, "--", "sh", "-c", strings.ReplaceAll(script, "IMAGE", w.Image))
}

// nothingOf waits until the host has nothing of a tenant.
func nothingOf(t *testing.T, w *World, name string) {
	t.Helper()
	everything := newScan(t, w)
	everything.waitNone(t, name)
	_, err := w.Host.RbacV1().ClusterRoleBindings().Get(t.Context(), deploy.Names{Tenant: name, Namespace: w.HostNamespace}.ClusterRole(), metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "the ClusterRoleBinding of %s: %v", name, err)
}

func runEnds(t *testing.T, w *World) {
	report := filepath.Join(t.TempDir(), "report")
	command := w.nestling(t.Context(), w.running("pr-1", suite+"\nkubectl create secret generic keys --from-literal=a=hunter22\nexit 7", "--ttl", "10m", "--collect", report)...)
	begin := time.Now()
	out, _ := command.CombinedOutput()
	w.Report(fmt.Sprintf("A run of a small test suite that fails at its end, with a report: %.1f s", time.Since(begin).Seconds()))
	require.Equal(t, 7, command.ProcessState.ExitCode(), string(out))
	nothingOf(t, w, "pr-1")
	summary, err := os.ReadFile(filepath.Join(report, "report.json"))
	require.NoError(t, err)
	require.Contains(t, string(summary), "sh ended with code 7")
	log, err := os.ReadFile(filepath.Join(report, "host", "logs", "pr-1-0", "nestling.log"))
	require.NoError(t, err)
	require.Contains(t, string(log), "Component")
	secrets, err := os.ReadFile(filepath.Join(report, "virtual", "objects", "secrets.yaml"))
	require.NoError(t, err)
	require.Contains(t, string(secrets), "name: keys")
	require.NotContains(t, string(secrets), "aHVudGVyMjI=")

	// What cannot be run is told from what fails.
	command = w.nestling(t.Context(), "run", "pr-1", "-n", w.HostNamespace, "--ephemeral", "--image", w.ProductImage, "--", "no-such-program")
	out, _ = command.CombinedOutput()
	require.Equal(t, 127, command.ProcessState.ExitCode(), string(out))
	nothingOf(t, w, "pr-1")
}

// started begins a run, and waits until its command runs.
func started(t *testing.T, w *World, name string, flags ...string) (*exec.Cmd, *bytes.Buffer, string) {
	t.Helper()
	marker := filepath.Join(t.TempDir(), "pid")
	command := w.nestling(context.WithoutCancel(t.Context()), w.running(name, "echo $$ > "+marker+".new; mv "+marker+".new "+marker+"; while :; do sleep 1; done", flags...)...)
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	command.WaitDelay = time.Second
	require.NoError(t, command.Start())
	t.Cleanup(func() { _ = command.Process.Kill() })
	var pid []byte
	eventually(t, "the command of run "+name, func(context.Context) (bool, string) {
		var err error
		pid, err = os.ReadFile(marker)
		return err == nil, errText(err)
	})
	return command, &out, strings.TrimSpace(string(pid))
}

func runKilled(t *testing.T, w *World) {
	const ttl = 10 * time.Minute // longer than the machine may take to come this far
	begin := time.Now()
	command, out, pid := started(t, w, "pr-2", "--ttl", ttl.String())
	anchor, err := w.Host.CoreV1().ConfigMaps(w.HostNamespace).Get(t.Context(), deploy.Names{Tenant: "pr-2"}.Anchor(), metav1.GetOptions{})
	require.NoError(t, err)
	expires, err := time.Parse(time.RFC3339, anchor.Annotations[deploy.ExpiresAtAnnotation])
	require.NoError(t, err)
	require.False(t, expires.Before(begin.Add(ttl).Truncate(time.Second)), expires)
	require.False(t, expires.After(time.Now().Add(ttl)), expires)
	require.NoError(t, command.Process.Kill())
	_ = command.Wait()
	eventually(t, "the end of the command", func(context.Context) (bool, string) {
		_, err := os.Stat("/proc/" + pid)
		return os.IsNotExist(err), out.String()
	})
	_, err = w.Host.CoreV1().ConfigMaps(w.HostNamespace).Get(t.Context(), anchor.Name, metav1.GetOptions{})
	require.NoError(t, err, "nobody deletes the tenant before its time")
	soon := time.Now().Add(3 * time.Second).UTC()
	annotate(t, w, "pr-2", deploy.ExpiresAtAnnotation, soon.Format(time.RFC3339))
	nothingOf(t, w, "pr-2")
	require.False(t, time.Now().Before(soon.Truncate(time.Second)))
	w.Report(fmt.Sprintf("A run that was killed: nothing was left of its tenant %.1f s after its time", time.Since(soon).Seconds()))
}

func runInterrupted(t *testing.T, w *World) {
	command, out, pid := started(t, w, "pr-3")
	begin := time.Now()
	require.NoError(t, command.Process.Signal(syscall.SIGTERM))
	_ = command.Wait()
	took := time.Since(begin)
	require.Equal(t, 128+int(syscall.SIGTERM), command.ProcessState.ExitCode(), out.String())
	require.NoDirExists(t, "/proc/"+pid)
	nothingOf(t, w, "pr-3")
	w.Report(fmt.Sprintf("A run that was asked to end ended within %.1f s, and nothing was left after %.1f s", took.Seconds(), time.Since(begin).Seconds()))
}

// tunnelOutlives replaces the pod under a tunnel. Who asks the tenant meanwhile waits, and gets an answer.
func tunnelOutlives(t *testing.T, w *World) {
	dir := t.TempDir()
	script := "kubectl get namespaces && touch DIR/before && while ! [ -e DIR/replaced ]; do sleep 0.1; done; for i in $(seq 60); do kubectl get namespaces && exit 0; sleep 1; done; exit 1"
	command := w.nestling(t.Context(), w.running("pr-4", strings.ReplaceAll(script, "DIR", dir), "--tunnel")...)
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	require.NoError(t, command.Start())
	eventually(t, "an answer through the tunnel", func(context.Context) (bool, string) {
		_, err := os.Stat(filepath.Join(dir, "before"))
		return err == nil, errText(err)
	})
	pods := w.Host.CoreV1().Pods(w.HostNamespace)
	before, err := pods.Get(t.Context(), "pr-4-0", metav1.GetOptions{})
	require.NoError(t, err)
	require.NoError(t, pods.Delete(t.Context(), before.Name, metav1.DeleteOptions{}))
	eventually(t, "another pod", func(ctx context.Context) (bool, string) {
		now, err := pods.Get(ctx, before.Name, metav1.GetOptions{})
		return err == nil && now.UID != before.UID, errText(err)
	})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "replaced"), nil, 0o600))
	require.NoError(t, command.Wait(), out.String())
	nothingOf(t, w, "pr-4")
}

// tunnelCarries goes through the host's own API server and kubelet.
func tunnelCarries(t *testing.T, w *World) {
	space := namespace(t, w.A, "tunnel")
	virtual := runPod(t, w, w.A, space, `
metadata: {name: web}
spec:
  containers: [{name: main, image: IMAGE, command: [agnhost, netexec, --http-port=8080], readinessProbe: {httpGet: {port: 8080}, PROBE}}]
`)
	host := hostPodOf(t, w, w.A, virtual)
	var mu sync.Mutex
	var said []string
	open, err := tunnel.Open(tunnel.Options{
		Host: w.HostConfig, Namespace: w.HostNamespace, Port: 8080,
		Pod: func(context.Context) (string, error) { return host.Name, nil },
		Report: func(line string) {
			mu.Lock()
			defer mu.Unlock()
			said = append(said, line)
		},
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, open.Close()) }()
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			answer, err := exchange(open.Address(), []byte("GET /hostname HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"), false)
			if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 OK") || !strings.Contains(string(answer), "web") {
				t.Errorf("GET /hostname: %q, %v", answer, err)
			}
		})
	}
	group.Wait()
	mu.Lock()
	defer mu.Unlock()
	require.Empty(t, said)
}

// SideBySide runs a small test suite several times at once, each against a tenant of its own.
func SideBySide(t *testing.T, w *World, runs int) {
	values := filepath.Join(t.TempDir(), "values.yaml")
	// As many as the node has memory for, not only as many as it has tenths of a processor.
	require.NoError(t, os.WriteFile(values, []byte("resources: {requests: {cpu: 10m}}\n"), 0o600))
	type result struct {
		took time.Duration
		code int
		out  []byte
	}
	results := make([]result, runs)
	var group sync.WaitGroup
	begin := time.Now()
	for i := range results {
		group.Go(func() {
			command := w.nestling(t.Context(), w.running(fmt.Sprintf("side-%d", i), suite, "--values", values, "--timeout", "10m")...)
			results[i].out, _ = command.CombinedOutput()
			results[i].took, results[i].code = time.Since(begin), command.ProcessState.ExitCode()
		})
	}
	group.Wait()
	for i, result := range results {
		require.Zero(t, result.code, "run %d:\n%s", i, result.out)
		nothingOf(t, w, fmt.Sprintf("side-%d", i))
	}
	slices.SortFunc(results, func(a, b result) int { return int(a.took - b.took) })
	var all []string
	for _, result := range results {
		all = append(all, fmt.Sprintf("%.0f", result.took.Seconds()))
	}
	w.Report(fmt.Sprintf("%d runs of a small test suite at once, all with success, from the start of nestling run to its end: %.1f s the first, %.1f s the middle one, %.1f s the last (%s)",
		runs, results[0].took.Seconds(), results[runs/2].took.Seconds(), results[runs-1].took.Seconds(), strings.Join(all, " ")))
}

// templates are run from the files that people use.
func templates(t *testing.T, w *World) {
	root := filepath.Dir(filepath.Dir(w.Program)) // it is bin/nestling
	const script = "kubectl get namespace default && exit 5"

	action, err := pipelines.ReadAction(filepath.Join(root, pipelines.ActionFile))
	require.NoError(t, err)
	temp := t.TempDir()
	command, err := action.Command(t.Context(), temp, map[string]string{
		"name": "action-1", "run": script, "namespace": w.HostNamespace, "flags": "--ephemeral\n--image=" + w.ProductImage, "binary": w.Program,
	}, w.environment())
	require.NoError(t, err)
	out, _ := command.CombinedOutput()
	require.Equal(t, 5, command.ProcessState.ExitCode(), string(out))
	outputs, err := pipelines.Outputs(temp)
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(outputs["report"], "report.json"))
	nothingOf(t, w, "action-1")

	job, err := pipelines.ReadJob(filepath.Join(root, pipelines.GitLabFile))
	require.NoError(t, err)
	dir := t.TempDir()
	main, after := job.Commands(t.Context(), dir, map[string]pipelines.Variable{
		"CI_JOB_ID": {Value: "1"}, "NESTLING_SCRIPT": pipelines.Verbatim(script), "NESTLING_NAMESPACE": {Value: w.HostNamespace},
		"NESTLING_FLAGS": {Value: "--ephemeral --image=" + w.ProductImage},
	}, w.environment())
	out, _ = main.CombinedOutput()
	require.Equal(t, 5, main.ProcessState.ExitCode(), string(out))
	out, err = after.CombinedOutput()
	require.NoError(t, err, string(out))
	files, err := job.ArtifactFiles(dir)
	require.NoError(t, err)
	require.Contains(t, files, filepath.Join(dir, "nestling-report", "report.json"))
	nothingOf(t, w, "ci-1")
}

func reports(t *testing.T, w *World) {
	space := namespace(t, w.A, "report")
	_, err := w.A.Client.CoreV1().Secrets(space).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "keys", Labels: map[string]string{"app": "report"}, Annotations: map[string]string{resource.AnnotationSync: "true"}},
		StringData: map[string]string{"a": "hunter22"},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	eventually(t, "the Secret on the host", func(ctx context.Context) (bool, string) {
		list, err := w.Host.CoreV1().Secrets(w.HostNamespace).List(ctx, metav1.ListOptions{LabelSelector: resource.LabelTenant + "=" + w.A.Name + ",app=report"})
		return err == nil && len(list.Items) == 1, errText(err)
	})
	for name, options := range map[string]collect.Options{
		"alive": {Tenant: w.A.Name, Namespace: w.HostNamespace, Host: w.HostConfig, Virtual: w.A.Config},
		"dead":  {Tenant: w.A.Name, Namespace: w.HostNamespace, Host: w.HostConfig, Unreachable: fmt.Errorf("it is dead")},
	} {
		dir := filepath.Join(t.TempDir(), name)
		sink, err := collect.Directory(dir)
		require.NoError(t, err)
		begin := time.Now()
		report, err := collect.Collect(t.Context(), options, sink)
		require.NoError(t, err)
		w.Report(fmt.Sprintf("A report of tenant %s, which is %s: %d files, %.1f s, %d things that could not be had", w.A.Name, name, report.Files, time.Since(begin).Seconds(), len(report.Problems)))
		require.FileExists(t, filepath.Join(dir, "host", "objects", "services.yaml"))
		require.FileExists(t, filepath.Join(dir, "host", "objects", "secrets.yaml"))
		require.Equal(t, name == "alive", report.Virtual != "")
		if name == "alive" {
			require.FileExists(t, filepath.Join(dir, "virtual", "objects", "secrets.yaml"))
			require.FileExists(t, filepath.Join(dir, "virtual", "metrics.txt"))
		}
		require.NoError(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			for _, secret := range []string{"hunter22", "aHVudGVyMjI=", "PRIVATE KEY-----\nMII"} {
				require.NotContains(t, string(text), secret, path)
			}
			return err
		}))
	}
}
