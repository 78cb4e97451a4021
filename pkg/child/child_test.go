package child

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"nestling.dev/nestling/pkg/leaktest"
)

// patience is for a busy machine.
const patience = 30 * time.Second

// parentOf makes the test binary a parent that runs what its arguments say.
const parentOf = "NESTLING_TEST_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(parentOf) != "" {
		signals := make(chan os.Signal, 8)
		signal.Notify(signals, Forwarded()...)
		result, err := Run(Options{Args: os.Args[1:], Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Signals: signals})
		if err != nil {
			panic(err)
		}
		os.Exit(result.Code)
	}
	leaktest.Main(m)
}

func run(t *testing.T, signals chan os.Signal, grace time.Duration, script string) (Result, string) {
	t.Helper()
	var out bytes.Buffer
	result, err := Run(Options{
		Args: []string{"sh", "-c", script}, Env: append(os.Environ(), "GIVEN=a value"),
		Stdin: strings.NewReader("typed\n"), Stdout: &out, Stderr: &out, Signals: signals, Grace: grace,
	})
	require.NoError(t, err)
	return result, out.String()
}

func TestStreamsAndExitCodes(t *testing.T) {
	for script, test := range map[string]struct {
		code int
		out  string
	}{
		"true":                    {0, ""},
		"exit 7":                  {7, ""},
		"kill -9 $$":              {128 + 9, ""},
		"read x; echo $x; exit 1": {1, "typed\n"},
		"echo $GIVEN; echo x >&2": {0, "a value\nx\n"},
	} {
		t.Run(script, func(t *testing.T) {
			result, out := run(t, nil, 0, script)
			require.Equal(t, Result{Code: test.code}, result)
			require.Equal(t, test.out, out)
		})
	}
}

func TestCommandsThatDoNotStart(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	require.NoError(t, os.WriteFile(text, []byte("text"), 0o600))
	for name, test := range map[string]struct {
		program string
		code    int
		want    string
	}{
		"no such program":   {"no-such-program-here", NotFound, "start no-such-program-here: executable file not found in $PATH"},
		"no such file":      {dir + "/missing", NotFound, "start " + dir + "/missing: no such file or directory"},
		"a file to be read": {text, CannotRun, "start " + text + ": permission denied"},
		"a directory":       {dir, CannotRun, "start " + dir + ": permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Run(Options{Args: []string{test.program}})
			var failed *StartError
			require.ErrorAs(t, err, &failed)
			require.Equal(t, test.code, failed.Code)
			require.EqualError(t, err, test.want)
		})
	}
}

func TestSignals(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		grace  time.Duration
		send   []os.Signal
		want   Result
	}{
		"are passed on": {
			"trap 'exit 3' TERM; echo ready > $READY; while :; do sleep 0.01; done", 0, []os.Signal{unix.SIGTERM}, Result{3, unix.SIGTERM}},
		"that ask for nothing, too": {
			"trap 'exit 4' USR1; echo ready > $READY; while :; do sleep 0.01; done", 0, []os.Signal{unix.SIGUSR1}, Result{4, nil}},
		// A shell that is about to fork keeps an interrupt until what it starts has ended: this one starts nothing.
		"end a command that says nothing of them": {
			"echo ready > $READY; exec sleep 1000", 0, []os.Signal{unix.SIGINT}, Result{128 + 2, unix.SIGINT}},
		"that are ignored, until patience ends": {
			"trap '' TERM; echo ready > $READY; while :; do sleep 0.01; done", 50 * time.Millisecond, []os.Signal{unix.SIGTERM}, Result{128 + 9, unix.SIGTERM}},
		"twice, are a kill": {
			"trap '' TERM INT; echo ready > $READY; while :; do sleep 0.01; done", time.Hour, []os.Signal{unix.SIGINT, unix.SIGTERM}, Result{128 + 9, unix.SIGINT}},
	} {
		t.Run(name, func(t *testing.T) {
			ready := filepath.Join(t.TempDir(), "ready")
			signals := make(chan os.Signal, 4)
			go func() {
				for begin := time.Now(); time.Since(begin) < patience; time.Sleep(time.Millisecond) {
					if _, err := os.Stat(ready); err == nil {
						break
					}
				}
				for _, one := range test.send {
					signals <- one
				}
			}()
			result, _ := run(t, signals, test.grace, "READY="+ready+"; "+test.script)
			require.Equal(t, test.want, result)
		})
	}
}

// Nothing that the command has started outlives it.
func TestNothingIsLeft(t *testing.T) {
	_, out := run(t, nil, 0, "sleep 1000 & echo $!; trap '' TERM; (while :; do sleep 1000; done) & echo $!")
	for _, pid := range strings.Fields(out) {
		require.Eventually(t, func() bool { return gone(t, pid) }, patience, time.Millisecond, "process %s", pid)
	}
}

// The command ends with us, even when we are killed.
func TestEndsWithUs(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	self, err := os.Executable()
	require.NoError(t, err)
	parent := exec.Command(self, "sh", "-c", fmt.Sprintf("echo $$ > %s.new; mv %s.new %s; while :; do sleep 0.01; done", pidFile, pidFile, pidFile))
	parent.Env = append(os.Environ(), parentOf+"=1")
	require.NoError(t, parent.Start())
	var pid []byte
	require.Eventually(t, func() bool { pid, err = os.ReadFile(pidFile); return err == nil }, patience, time.Millisecond)
	require.False(t, gone(t, strings.TrimSpace(string(pid))))
	require.NoError(t, parent.Process.Kill())
	_ = parent.Wait()
	require.Eventually(t, func() bool { return gone(t, strings.TrimSpace(string(pid))) }, patience, time.Millisecond)
}

// On a terminal the command can read, and gets what is typed.
func TestTerminal(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	parent := exec.Command(self, "sh", "-c", "trap 'echo interrupted; exit 5' INT; read x; echo got $x; while :; do sleep 0.01; done")
	parent.Env = append(os.Environ(), parentOf+"=1")
	terminal, err := pty.Start(parent)
	require.NoError(t, err)
	t.Cleanup(func() { _ = terminal.Close() })
	require.NoError(t, terminal.SetDeadline(time.Now().Add(patience)))
	_, err = terminal.WriteString("hello\n")
	require.NoError(t, err)
	await(t, terminal, "got hello")
	_, err = terminal.WriteString("\x03")
	require.NoError(t, err)
	await(t, terminal, "interrupted")
	var ended *exec.ExitError
	require.ErrorAs(t, parent.Wait(), &ended)
	require.Equal(t, 5, ended.ExitCode())
}

func await(t *testing.T, terminal *os.File, want string) {
	t.Helper()
	var seen []byte
	buffer := make([]byte, 256)
	for !strings.Contains(string(seen), want) {
		n, err := terminal.Read(buffer)
		require.NoError(t, err, "waiting for %q, seen %q", want, seen)
		seen = append(seen, buffer[:n]...)
	}
}

// gone is also who has ended and waits for a parent to notice.
func gone(t *testing.T, pid string) bool {
	t.Helper()
	number, err := strconv.Atoi(pid)
	require.NoError(t, err)
	if unix.Kill(number, 0) == syscall.ESRCH {
		return true
	}
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err != nil || strings.Contains(string(stat), ") Z ")
}
