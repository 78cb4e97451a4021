package command

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// program is what `make build` has built. These tests are about processes, so
// they run the real ones.
func program(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../../bin/nestling-sandbox")
	require.NoError(t, err)
	if _, err := os.Stat(path); err != nil {
		t.Skip("bin/nestling-sandbox is not built: make build")
	}
	return path
}

// up is a sandbox that a user has started.
type up struct {
	command    *exec.Cmd
	temporary  string // TMPDIR
	kubeconfig string
	output     *bufio.Scanner
	stderr     bytes.Buffer
}

func startUp(t *testing.T, args ...string) *up {
	t.Helper()
	temporary, err := os.MkdirTemp("/tmp", "up-") // t.TempDir is too long for unix sockets
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(temporary)) })
	u := &up{temporary: temporary, kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	u.command = exec.Command(program(t), append([]string{"up", "--kubeconfig", u.kubeconfig}, args...)...)
	u.command.Env = append(os.Environ(), "TMPDIR="+temporary)
	u.command.Stderr = &u.stderr
	u.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := u.command.StdoutPipe()
	require.NoError(t, err)
	u.output = bufio.NewScanner(stdout)
	require.NoError(t, u.command.Start())
	t.Cleanup(func() { _ = u.command.Process.Kill() })
	return u
}

// ready reads the output to the line that says so.
func (u *up) ready(t *testing.T) {
	t.Helper()
	for u.output.Scan() {
		t.Log(u.output.Text())
		if strings.HasPrefix(u.output.Text(), "Ready in ") {
			require.Contains(t, u.output.Text(), "export KUBECONFIG="+u.kubeconfig)
			return
		}
	}
	_ = u.command.Wait()
	t.Fatal("never ready: ", u.stderr.String())
}

// descendants are the worker and the tenants' processes, by their command.
func (u *up) descendants(t *testing.T) map[string]int {
	t.Helper()
	parents, names := map[int]int{}, map[int]string{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// pid (name) state ppid …
		name, rest, _ := strings.Cut(string(text), ") ")
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		require.NoError(t, err)
		var state string
		var parent int
		_, err = fmt.Sscan(rest, &state, &parent)
		require.NoError(t, err)
		parents[pid], names[pid] = parent, name[strings.Index(name, "(")+1:]
	}
	found := map[string]int{}
	for pid := range parents {
		for ancestor := parents[pid]; ancestor > 1; ancestor = parents[ancestor] {
			if ancestor == u.command.Process.Pid {
				found[names[pid]] = pid
			}
		}
	}
	return found
}

// nothingLeft waits until all that the sandbox has made is gone.
func (u *up) nothingLeft(t *testing.T, pids map[string]int) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute) // the machine may be busy
	for {
		var left []string
		for name, pid := range pids {
			if syscall.Kill(pid, 0) == nil {
				left = append(left, fmt.Sprintf("%s (%d)", name, pid))
			}
		}
		files, err := filepath.Glob(filepath.Join(u.temporary, "*"))
		require.NoError(t, err)
		left = append(left, files...)
		if _, err := os.Stat(u.kubeconfig); err == nil {
			left = append(left, u.kubeconfig)
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left behind: %v", left)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// The stories below do not run in parallel: each takes all of the machine to start.

func TestCtrlC(t *testing.T) {
	u := startUp(t, "--tenant=team-a", "--nodes=2", "--host-kubeconfig="+filepath.Join(t.TempDir(), "host"))
	u.ready(t)

	config, err := clientcmd.BuildConfigFromFlags("", u.kubeconfig)
	require.NoError(t, err)
	virtualClient, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	_, err = virtualClient.CoreV1().Namespaces().Get(t.Context(), "default", metav1.GetOptions{})
	require.NoError(t, err)

	pids := u.descendants(t)
	require.Len(t, pids, 2, "%v", pids)
	// At a terminal it reaches the whole group of the keeper.
	require.NoError(t, syscall.Kill(-u.command.Process.Pid, syscall.SIGINT))
	require.NoError(t, u.command.Wait(), u.stderr.String())
	require.Empty(t, u.stderr.String())
	u.nothingLeft(t, pids)
}

func TestCtrlCBeforeReady(t *testing.T) {
	u := startUp(t)
	require.True(t, u.output.Scan())
	pids := u.descendants(t)
	require.NoError(t, u.command.Process.Signal(syscall.SIGTERM))
	for u.output.Scan() {
	}
	_ = u.command.Wait()
	require.Equal(t, exitFailure, u.command.ProcessState.ExitCode())
	require.Equal(t, "nestling-sandbox: interrupted before it was ready\n", u.stderr.String())
	u.nothingLeft(t, pids)
}

func TestKilledKeeper(t *testing.T) {
	u := startUp(t)
	u.ready(t)
	pids := u.descendants(t)
	require.NoError(t, u.command.Process.Kill())
	_ = u.command.Wait()
	u.nothingLeft(t, pids)
}

func TestKilledWorker(t *testing.T) {
	u := startUp(t)
	u.ready(t)
	pids := u.descendants(t)
	require.NoError(t, syscall.Kill(pids["nestling-sandbo"], syscall.SIGKILL)) // 15 characters, the kernel's limit
	_ = u.command.Wait()
	require.Equal(t, exitFailure, u.command.ProcessState.ExitCode())
	require.Equal(t, "nestling-sandbox: the simulated host ended: signal: killed\n", u.stderr.String())
	u.nothingLeft(t, pids)
}

func TestKilledTenant(t *testing.T) {
	u := startUp(t)
	u.ready(t)
	pids := u.descendants(t)
	require.NoError(t, syscall.Kill(pids["nestling"], syscall.SIGKILL))
	_ = u.command.Wait()
	require.Equal(t, exitFailure, u.command.ProcessState.ExitCode())
	require.Regexp(t, `^nestling-sandbox: tenant sandbox: ended: signal: killed: .*\n$`, u.stderr.String())
	u.nothingLeft(t, pids)
}
