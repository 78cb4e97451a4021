package simhost

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/utils/exec"
)

// player plays the programs of a pod's containers. Nothing runs on this
// machine: it knows the handful of commands in run.
type player struct{ pod *corev1.Pod }

// Exit codes of a shell.
const (
	exitUsage    = 2
	exitNotFound = 127
)

// ExecInContainer plays one command. Its error carries the exit code.
func (p player) ExecInContainer(ctx context.Context, _, _, container string, command []string, in io.Reader, out, errOut io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	if errOut == nil {
		errOut = out // a terminal has only one
	}
	code := p.run(ctx, container, command, in, out, errOut)
	if code != 0 {
		return exec.CodeExitError{Code: code, Err: fmt.Errorf("command terminated with exit code %d", code)}
	}
	return nil
}

// AttachContainer joins the container's main program, which repeats its input.
func (p player) AttachContainer(ctx context.Context, _, _, _ string, in io.Reader, out, _ io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize) error {
	if in == nil {
		<-ctx.Done()
		return nil
	}
	_, err := io.Copy(out, in)
	return err
}

// PortForward answers one HTTP GET per connection, and everything else with what
// came in.
func (p player) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	in := bufio.NewReader(stream)
	if start, _ := in.Peek(len("GET ")); string(start) != "GET " {
		_, err := io.Copy(stream, in)
		return ignoreEOF(err)
	}
	if _, err := http.ReadRequest(in); err != nil {
		return ignoreEOF(err)
	}
	body := fmt.Sprintf("simulated pod %s, port %d\n", hostname(p.pod), port)
	_, err := fmt.Fprintf(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
	return err
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// run plays a command and returns its exit code.
func (p player) run(ctx context.Context, container string, command []string, in io.Reader, out, errOut io.Writer) int {
	if len(command) == 0 {
		return exitUsage
	}
	if in == nil {
		in = strings.NewReader("")
	}
	name, args := command[0], command[1:]
	switch name[strings.LastIndex(name, "/")+1:] {
	case "true":
	case "false":
		return 1
	case "echo":
		fmt.Fprintln(out, strings.Join(args, " "))
	case "hostname":
		fmt.Fprintln(out, hostname(p.pod))
	case "cat":
		if len(args) > 0 {
			fmt.Fprintf(errOut, "cat: %s: simulated containers have no files\n", args[0])
			return 1
		}
		if _, err := io.Copy(out, in); err != nil {
			return 1
		}
	case "env", "printenv":
		p.printEnv(container, out)
	case "exit":
		if len(args) == 0 {
			return 0
		}
		code, err := strconv.Atoi(args[0])
		if err != nil {
			return exitUsage
		}
		return code
	case "sleep":
		return sleep(ctx, args)
	case "sh", "bash", "ash":
		return p.shell(ctx, container, args, in, out, errOut)
	default:
		fmt.Fprintf(errOut, "%s: not found: this container is simulated\n", name)
		return exitNotFound
	}
	return 0
}

// shell plays a script of lines, each one command without quotes or variables,
// joined by newlines or semicolons.
func (p player) shell(ctx context.Context, container string, args []string, in io.Reader, out, errOut io.Writer) int {
	script := in
	if len(args) >= 2 && args[0] == "-c" {
		script = strings.NewReader(strings.ReplaceAll(args[1], ";", "\n"))
	}
	code := 0
	lines := bufio.NewScanner(script)
	for lines.Scan() {
		command := strings.Fields(lines.Text())
		if len(command) == 0 {
			continue
		}
		code = p.run(ctx, container, command, nil, out, errOut)
		if command[0] == "exit" {
			break
		}
	}
	return code
}

func (p player) printEnv(container string, out io.Writer) {
	fmt.Fprintf(out, "HOSTNAME=%s\n", hostname(p.pod))
	for _, c := range p.pod.Spec.Containers {
		if c.Name != container {
			continue
		}
		for _, variable := range c.Env {
			if variable.ValueFrom == nil {
				fmt.Fprintf(out, "%s=%s\n", variable.Name, variable.Value)
			}
		}
	}
}

func sleep(ctx context.Context, args []string) int {
	if len(args) != 1 {
		return exitUsage
	}
	seconds, err := strconv.ParseFloat(strings.TrimSuffix(args[0], "s"), 64)
	if err != nil {
		return exitUsage
	}
	select {
	case <-ctx.Done():
		return sigtermExit
	case <-time.After(time.Duration(seconds * float64(time.Second))):
		return 0
	}
}

// hostname is what a kubelet would set: at most 63 characters.
func hostname(pod *corev1.Pod) string {
	name := pod.Spec.Hostname
	if name == "" {
		name = pod.Name
	}
	return strings.TrimRight(name[:min(len(name), 63)], "-.")
}
