package stories

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// transfers move data between the user's machine and a pod.
func transfers() []Story {
	return []Story{
		{Name: "port-forward carries many connections, and much data", Real: true, Run: portForward},
		{Name: "cp copies both ways", Real: true, Run: copyFiles},
	}
}

func portForward(t *testing.T, w *World) {
	space := namespace(t, w.A, "forward")
	runPod(t, w, w.A, space, `
metadata: {name: web}
spec:
  containers:
  - {name: main, image: IMAGE, command: [agnhost, netexec, --http-port=8080], readinessProbe: {httpGet: {port: 8080}, PROBE}}
  - {name: echo, image: IMAGE, command: [nc, -ll, -p, "7000", -e, cat], readinessProbe: {tcpSocket: {port: 7000}, PROBE}}
`)
	for name, environment := range protocols() {
		t.Run(name, func(t *testing.T) {
			command := kubectlCommand(t.Context(), w, w.A, space, "port-forward", "pod/web", ":8080", ":7000")
			command.Env = append(os.Environ(), environment...)
			output, err := command.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, command.Start())
			defer func() {
				_ = command.Process.Kill()
				_ = command.Wait()
			}()
			ports := map[string]string{}
			lines := bufio.NewScanner(output)
			forwarding := regexp.MustCompile(`^Forwarding from (127\.0\.0\.1:\d+) -> (\d+)$`)
			for len(ports) < 2 && lines.Scan() {
				if found := forwarding.FindStringSubmatch(lines.Text()); found != nil {
					ports[found[2]] = found[1]
				}
			}
			require.Len(t, ports, 2)
			go func() { _, _ = io.Copy(io.Discard, output) }()

			var group sync.WaitGroup
			for range 10 {
				group.Go(func() {
					answer, err := exchange(ports["8080"], []byte("GET /hostname HTTP/1.0\r\n\r\n"), false)
					if err != nil || !strings.HasSuffix(string(answer), "\r\n\r\nweb") {
						t.Errorf("GET /hostname: %q, %v", answer, err)
					}
				})
			}
			group.Wait()
			data := make([]byte, 16<<20)
			_, _ = rand.Read(data) // never fails
			echoed, err := exchange(ports["7000"], data, true)
			require.NoError(t, err)
			require.True(t, bytes.Equal(data, echoed), "%d of %d bytes came back", len(echoed), len(data))
		})
	}
}

// exchange writes data to an address and reads what comes back: as much again, or
// until the other side is done.
func exchange(address string, data []byte, echo bool) ([]byte, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close() }()
	written := make(chan error, 1)
	go func() {
		_, err := conn.Write(data)
		written <- err
	}()
	var answer []byte
	if echo {
		answer = make([]byte, len(data))
		_, err = io.ReadFull(conn, answer)
	} else {
		answer, err = io.ReadAll(conn)
	}
	if err != nil {
		return answer, fmt.Errorf("read: %w", err)
	}
	return answer, <-written
}

func copyFiles(t *testing.T, w *World) {
	space := namespace(t, w.A, "copy")
	pod := runPod(t, w, w.A, space, "{metadata: {name: web}, spec: {containers: [{name: main, image: IMAGE}, {name: other, image: IMAGE}]}}")
	from, back := t.TempDir(), filepath.Join(t.TempDir(), "back")
	large := make([]byte, 8<<20)
	_, _ = rand.Read(large) // never fails
	require.NoError(t, os.Mkdir(filepath.Join(from, "deep"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(from, "large"), large, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(from, "deep", "run.sh"), []byte("#!/bin/sh\necho ran\n"), 0o700))

	kubectl(t, w, w.A, space, "cp", "-c", "other", from, space+"/web:/tmp/there")
	require.Equal(t, "ran", shell(t, w.A, pod, "other", "/tmp/there/deep/run.sh"))
	require.Equal(t, fmt.Sprint(len(large)), shell(t, w.A, pod, "other", "stat -c %s /tmp/there/large"))
	kubectl(t, w, w.A, space, "cp", "-c", "other", "web:/tmp/there", back)
	returned, err := os.ReadFile(filepath.Join(back, "large"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(large, returned))
}
