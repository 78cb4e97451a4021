// Package dra plays the host's device driver: upstream's library for drivers of dynamic
// resource allocation with devices that are nothing but names.
package dra

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"nestling.dev/nestling/e2e/command"
	"nestling.dev/nestling/e2e/node"
)

const (
	// Driver is its name, and Devices how many it has on the one node.
	Driver  = "devices.e2e.nestling.dev"
	Devices = 2

	program = "devicedriver"
	// startPatience is for a busy machine; seconds are usual.
	startPatience = 90 * time.Second
)

// Running is a driver at work.
type Running struct{ command *exec.Cmd }

// Build compiles the driver into <root>/bin/dra; root is the repository's.
func Build(ctx context.Context, root string) (path string, err error) {
	path = filepath.Join(root, "bin", "dra", program)
	if _, err := command.Go(ctx, filepath.Join(root, "e2e", "drabins"), "build", "-ldflags", "-s -w", "-o", path, "./cmd/"+program); err != nil {
		return "", fmt.Errorf("build the device driver: %w", err)
	}
	return path, nil
}

// Start runs the driver in the host's first node, and returns when the host has its devices.
func Start(ctx context.Context, host *node.Host, path string) (*Running, error) {
	log, err := os.OpenFile(filepath.Join(host.Logs(), program+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	name := host.NodeNames()[0]
	command := host.Command(context.WithoutCancel(ctx), 0, path, "--name="+Driver, "--node="+name,
		"--kubeconfig="+host.Kubeconfig(), fmt.Sprintf("--devices=%d", Devices))
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a Ctrl-C is for the test, which stops things in order
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	running := &Running{command}
	client, err := host.Client()
	if err != nil {
		running.Stop()
		return nil, err
	}
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, startPatience, true, func(ctx context.Context) (bool, error) {
		slices, err := client.ResourceV1().ResourceSlices().List(ctx, metav1.ListOptions{FieldSelector: "spec.driver=" + Driver})
		return err == nil && len(slices.Items) > 0, err
	})
	if err != nil {
		running.Stop()
		return nil, fmt.Errorf("wait for the devices of node %s: %w", name, err)
	}
	return running, nil
}

// Stop ends the driver. Its devices go with the node.
func (r *Running) Stop() {
	_ = r.command.Process.Kill()
	_ = r.command.Wait()
}
