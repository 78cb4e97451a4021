package stories

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func streams() []Story {
	return slices.Concat([]Story{
		{Name: "logs come as they are asked for", Real: true, Run: podLogs},
		{Name: "logs are followed to the end", Real: true, Run: followedLogs},
		{Name: "exec carries input, output and exit codes", Real: true, Run: execute},
		{Name: "exec gives a terminal", Real: true, Run: terminal},
		{Name: "attach joins a running container", Real: true, Run: attach},
		{Name: "debug puts a container into a running pod, or into its copy", Real: true, Run: debug},
	}, transfers(), changes())
}

// protocols are the variables that make kubectl speak WebSocket or SPDY.
func protocols() map[string][]string {
	all := func(value string) []string {
		return []string{"KUBECTL_REMOTE_COMMAND_WEBSOCKETS=" + value, "KUBECTL_PORT_FORWARD_WEBSOCKETS=" + value}
	}
	return map[string][]string{"WebSocket": all("true"), "SPDY": all("false")}
}

// session is a kubectl that streams.
type session struct {
	input       string
	environment []string
	protocol    string
}

// run returns outputs and exit code.
func (s session) run(t *testing.T, w *World, namespace string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	command := kubectlCommand(t.Context(), w, w.A, namespace, args...)
	command.Env = append(os.Environ(), s.environment...)
	command.Stdin = strings.NewReader(s.input)
	var out, messages bytes.Buffer
	command.Stdout, command.Stderr = &out, &messages
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return out.String(), messages.String(), command.ProcessState.ExitCode()
}

// runWhole is run, and once more where SPDY has lost the end. To kubectl, a stream that ends
// before its last words were read is a success (kubernetes/kubernetes#137404), on any cluster
// whose machines are busy enough. What is lost twice in a row is lost by us.
func (s session) runWhole(t *testing.T, w *World, namespace string, whole func(stdout string, code int) bool, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	stdout, stderr, code = s.run(t, w, namespace, args...)
	if s.protocol == "SPDY" && !whole(stdout, code) {
		return s.run(t, w, namespace, args...)
	}
	return stdout, stderr, code
}

// failed is true of a command that has to fail.
func failed(_ string, code int) bool { return code != 0 }

func podLogs(t *testing.T, w *World) {
	space := namespace(t, w.A, "logs")
	pod := createPod(t, w, w.A, space, `
metadata: {name: talks}
spec:
  initContainers: [{name: first, image: IMAGE, command: [echo, from init]}]
  containers:
  - {name: main, image: IMAGE, command: [sh, -c, "for i in 1 2 3 4 5; do echo line $i; done; sleep 1; echo to stderr >&2; sleep 100000"]}
  - {name: falls, image: IMAGE, command: [sh, -c, "cat /proc/sys/kernel/random/uuid; exit 1"]}
`)
	waitPod(t, w.A, space, pod.Name, "has started falls again", func(pod *corev1.Pod) bool {
		status := containerStatus(pod, "falls")
		return status.RestartCount > 0 && status.State.Waiting != nil // kubelet keeps one that has ended
	})
	eventually(t, "the last line", func(ctx context.Context) (bool, string) {
		said, err := w.A.Client.CoreV1().Pods(space).GetLogs(pod.Name, &corev1.PodLogOptions{Container: "main"}).DoRaw(ctx)
		return strings.HasSuffix(string(said), "to stderr\n"), string(said) + errText(err)
	})
	for name, test := range map[string]struct {
		options corev1.PodLogOptions
		want    string // regular expression
	}{
		"all":        {corev1.PodLogOptions{}, `line 1\nline 2\nline 3\nline 4\nline 5\nto stderr\n`},
		"tail":       {corev1.PodLogOptions{TailLines: new(int64(2))}, `line 5\nto stderr\n`},
		"bytes":      {corev1.PodLogOptions{LimitBytes: new(int64(9))}, `line 1\nli`},
		"timestamps": {corev1.PodLogOptions{TailLines: new(int64(1)), Timestamps: true}, `20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z to stderr\n`},
		"since":      {corev1.PodLogOptions{SinceSeconds: new(int64(3600))}, `line 1\n(.*\n){4}to stderr\n`},
		"since then": {corev1.PodLogOptions{SinceTime: &metav1.Time{Time: time.Now().Add(time.Hour)}}, ``},
		"init":       {corev1.PodLogOptions{Container: "first"}, `from init\n`},
		"previous":   {corev1.PodLogOptions{Container: "falls", Previous: true}, `[-0-9a-f]{36}\n`},
	} {
		if test.options.Container == "" {
			test.options.Container = "main"
		}
		require.Regexp(t, "^"+test.want+"$", logs(t, w.A, pod, test.options), name)
	}
	_, messages, code := session{}.run(t, w, space, "logs", "talks", "-c", "main", "--previous")
	require.Equal(t, 1, code)
	require.Equal(t, "Error from server (BadRequest): previous terminated container \"main\" in pod \"talks\" not found\n", messages)
	all := kubectl(t, w, w.A, space, "logs", "talks", "--all-containers", "--prefix")
	require.Contains(t, all, "[pod/talks/first] from init\n")
	require.Contains(t, all, "[pod/talks/main] line 5\n")
	requireTenantsWords(t, w, hostPodOf(t, w, w.A, pod), all)
}

func followedLogs(t *testing.T, w *World) {
	space := namespace(t, w.A, "follow")
	pod := runPod(t, w, w.A, space, `
metadata: {name: talks}
spec:
  restartPolicy: Never
  containers: [{name: main, image: IMAGE, command: [sh, -c, "echo begin; while ! [ -e /tmp/end ]; do sleep 0.1; done; echo end"]}]
`)
	stream, err := w.A.Client.CoreV1().Pods(space).GetLogs(pod.Name, &corev1.PodLogOptions{Follow: true}).Stream(t.Context())
	require.NoError(t, err)
	defer func() { _ = stream.Close() }()
	lines := bufio.NewScanner(stream)
	require.True(t, lines.Scan())
	require.Equal(t, "begin", lines.Text())
	shell(t, w.A, pod, "", "echo more > /proc/1/fd/1")
	require.True(t, lines.Scan(), "while the container runs")
	require.Equal(t, "more", lines.Text())
	shell(t, w.A, pod, "", "touch /tmp/end")
	require.True(t, lines.Scan())
	require.Equal(t, "end", lines.Text())
	require.False(t, lines.Scan(), "the end of the container is the end of its log")
	require.NoError(t, lines.Err())
	require.Equal(t, "begin\nmore\nend\n", kubectl(t, w, w.A, space, "logs", "-f", "talks"))
}

func execute(t *testing.T, w *World) {
	space := namespace(t, w.A, "exec")
	runPod(t, w, w.A, space, "{metadata: {name: web}, spec: {containers: [{name: main, image: IMAGE}, {name: other, image: IMAGE}]}}")
	large := strings.Repeat("0123456789abcde\n", 256<<10) // 4 MiB
	for name, environment := range protocols() {
		t.Run(name, func(t *testing.T) {
			quiet, loud := session{environment: environment, protocol: name}, session{environment: environment, protocol: name, input: large}
			out, messages, code := quiet.runWhole(t, w, space, failed, "exec", "web", "-c", "other", "--", "sh", "-c", "echo out; echo err >&2; exit 42")
			require.Equal(t, []any{"out\n", 42}, []any{out, code}, messages)
			require.Equal(t, "err\ncommand terminated with exit code 42\n", messages)

			back := func(stdout string, _ int) bool { return len(stdout) >= len(large) }
			out, messages, code = loud.runWhole(t, w, space, back, "exec", "-i", "web", "-c", "main", "--", "cat")
			require.Zero(t, code, messages)
			require.True(t, out == large, "%d of %d bytes came back", len(out), len(large))

			_, messages, code = quiet.run(t, w, space, "exec", "web", "-c", "nobody", "--", "true")
			require.Equal(t, 1, code)
			require.Contains(t, messages, "container nobody is not valid for pod web")
			_, messages, code = quiet.runWhole(t, w, space, failed, "exec", "web", "-c", "main", "--", "no-such-program")
			require.NotZero(t, code)
			require.Contains(t, messages, "no-such-program")

			for range 20 { // none loses its output, or its code
				out, messages, code = quiet.runWhole(t, w, space, failed, "exec", "web", "-c", "main", "--", "sh", "-c", "echo word; exit 3")
				require.Equal(t, []any{"word\n", 3}, []any{out, code}, messages)
			}
		})
	}
}

// terminal is kubectl exec -it as it runs in a terminal.
func terminal(t *testing.T, w *World) {
	space := namespace(t, w.A, "terminal")
	runPod(t, w, w.A, space, "{metadata: {name: web}, spec: {containers: [{name: main, image: IMAGE}]}}")
	for name, environment := range protocols() {
		t.Run(name, func(t *testing.T) {
			typed := func() (string, int) {
				command := kubectlCommand(t.Context(), w, w.A, space, "exec", "-it", "web", "--", "sh")
				command.Env = append(os.Environ(), environment...)
				return typeInto(t, command, "until stty size | grep 33; do sleep 0.1; done; tty && hostname; exit 5\n")
			}
			shown, code := typed()
			if name == "SPDY" && code == 0 { // as runWhole
				shown, code = typed()
			}
			require.Equal(t, 5, code, shown)
			require.Contains(t, shown, "33 99\r\n")
			require.Contains(t, shown, "/dev/pts/")
			require.Contains(t, shown, "\r\nweb\r\n")
		})
	}
}

// typeInto runs a command in a terminal of 33 lines and 99 columns, and types text.
func typeInto(t *testing.T, command *exec.Cmd, text string) (shown string, code int) {
	t.Helper()
	screen, err := pty.StartWithSize(command, &pty.Winsize{Rows: 33, Cols: 99})
	require.NoError(t, err)
	defer func() { _ = screen.Close() }()
	read := make(chan string, 1)
	go func() {
		data, _ := io.ReadAll(screen) // ends with EIO
		read <- string(data)
	}()
	_, err = io.WriteString(screen, text)
	require.NoError(t, err)
	err = command.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return <-read, command.ProcessState.ExitCode()
}

func attach(t *testing.T, w *World) {
	space := namespace(t, w.A, "attach")
	for name, environment := range protocols() {
		t.Run(name, func(t *testing.T) {
			pod := strings.ToLower(name)
			runPod(t, w, w.A, space, `
metadata: {name: `+pod+`}
spec:
  containers: [{name: main, image: IMAGE, stdin: true, command: [sh, -c, "while read line; do echo heard $line; done; echo nothing more; sleep 100000"]}]
`)
			s := session{environment: environment}
			command := kubectlCommand(t.Context(), w, w.A, space, "attach", "-i", pod)
			command.Env = append(os.Environ(), s.environment...)
			input, err := command.StdinPipe()
			require.NoError(t, err)
			output, err := command.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, command.Start())
			lines := bufio.NewScanner(output)
			for i := range 3 {
				_, err = fmt.Fprintf(input, "word %d\n", i)
				require.NoError(t, err)
				require.True(t, lines.Scan())
				require.Equal(t, fmt.Sprintf("heard word %d", i), lines.Text())
			}
			require.NoError(t, command.Process.Kill())
			_ = command.Wait()
		})
	}
	// kubectl run -i is a pod that is made, attached to, and deleted.
	out, messages, code := session{input: "to and fro"}.run(t, w, space, "run", "once", "--image", w.Image, "--restart=Never", "--pod-running-timeout=5m", "--rm", "-i", "--quiet", "--command", "--", "sh", "-c", "sleep 1; cat; exit 0")
	require.Zero(t, code, messages)
	require.Contains(t, out, "to and fro")
}

func debug(t *testing.T, w *World) {
	space := namespace(t, w.A, "debug")
	pod := runPod(t, w, w.A, space, `
metadata: {name: web, labels: {app: web}}
spec: {containers: [{name: main, image: `+agnhostImage+`, args: [netexec, --http-port=8080]}]}
`)
	kubectl(t, w, w.A, space, "debug", "web", "--image", w.Image, "--container", "lens", "--target", "main", "--", "sh", "-c", "ps -o args; hostname; until curl -sf -m 5 localhost:8080/hostname; do sleep 0.2; done; echo; sleep 100000")
	pod = waitPod(t, w.A, space, "web", "has the container", func(pod *corev1.Pod) bool { return containerStatus(pod, "lens").State.Running != nil })
	eventually(t, "what the debugger saw", func(ctx context.Context) (bool, string) {
		seen, err := w.A.Client.CoreV1().Pods(space).GetLogs("web", &corev1.PodLogOptions{Container: "lens"}).DoRaw(ctx)
		return strings.Contains(string(seen), "/agnhost netexec") && strings.HasSuffix(string(seen), "\nweb\nweb\n"), string(seen) + errText(err)
	})
	require.Equal(t, "web", shell(t, w.A, pod, "lens", "hostname"))
	require.True(t, isReady(pod), "the others run on")
	require.Zero(t, containerStatus(pod, "main").RestartCount)

	typing := kubectlCommand(t.Context(), w, w.A, space, "debug", "-it", "web", "--image", w.Image, "--container", "eye", "--", "sh")
	shown, code := typeInto(t, typing, "echo $((6 * 7)) in $(hostname); exit\n")
	require.Zero(t, code, shown)
	require.Contains(t, shown, "42 in web\r\n")

	kubectl(t, w, w.A, space, "debug", "web", "--copy-to", "web-copy", "--set-image", "main="+w.Image, "--container", "main", "--", "sh", "-c", "echo copied; sleep 100000")
	duplicate := waitPod(t, w.A, space, "web-copy", "runs", func(pod *corev1.Pod) bool { return containerStatus(pod, "main").State.Running != nil })
	require.Equal(t, "web-copy", shell(t, w.A, duplicate, "main", "hostname"))
	require.NoError(t, w.A.Client.CoreV1().Pods(space).Delete(t.Context(), "web-copy", metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}))
}
