package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// tenantStopTimeout is what a kubelet would grant the pod, less what serve
// promises to need (10 s).
const tenantStopTimeout = 20 * time.Second

// process is one run of a program.
type process struct {
	command *exec.Cmd
	logPath string
	ended   chan struct{} // closed when it was awaited, after err is set
	err     error
}

// startProcess starts a program in a process group of its own, so that a Ctrl-C
// at the terminal reaches it through us only. If this process dies, however it
// does, the kernel kills the program.
func startProcess(command *exec.Cmd, logPath string) (*process, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}

	p := &process{command: command, logPath: logPath, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel sends the signal when the thread ends that has forked, so
		// the thread has to stay with the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = command.Wait()
		close(p.ended)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// stop asks the process to end, and makes it end if it does not. It is no error
// if it has ended already.
func (p *process) stop() error {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		return nil
	case <-time.After(tenantStopTimeout):
		p.kill()
		return fmt.Errorf("process %d did not end within %s", p.command.Process.Pid, tenantStopTimeout)
	}
}

// kill ends the process without its knowledge.
func (p *process) kill() {
	_ = p.command.Process.Kill()
	<-p.ended
}

// failure explains why the process ended, in its own last words.
func (p *process) failure() error {
	words := lastLine(p.logPath)
	if words == "" {
		words = "no word"
	}
	return fmt.Errorf("ended: %s: %s", p.command.ProcessState, words)
}

// lastLineSize bounds how much of the end of a log is read, in bytes.
const lastLineSize = 16 << 10

// lastLine is the last line with something on it.
func lastLine(path string) string {
	log, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer log.Close()
	size, err := log.Seek(0, 2)
	if err != nil {
		return ""
	}
	text := make([]byte, min(size, lastLineSize))
	if _, err := log.ReadAt(text, size-int64(len(text))); err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}
