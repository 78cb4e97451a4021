package csi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"nestling.dev/nestling/e2e/command"
	"nestling.dev/nestling/e2e/node"
)

// Driver is its name.
const Driver = "tmpfs.e2e.nestling.dev"

// SecretName is a Secret of the storage system that classes name and volumes carry, as
// those of real drivers do: no tenant may see it.
const SecretName = "storage-admin"

// startPatience is for a busy machine; seconds are usual.
const startPatience = 90 * time.Second

// Storage is a running driver with its sidecars.
type Storage struct {
	host    *node.Host
	running []*exec.Cmd
}

// Start installs the definitions and classes, starts the programs, and returns when the
// node has the driver.
func (p *Programs) Start(ctx context.Context, host *node.Host) (*Storage, error) {
	s := &Storage{host: host}
	var manifests strings.Builder
	for _, file := range p.definitions {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		manifests.Write(text)
		manifests.WriteString("\n---\n")
	}
	if err := s.apply(ctx, manifests.String()); err != nil {
		return nil, fmt.Errorf("definitions of snapshots: %w", err)
	}
	var unready error
	if err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, startPatience, true, func(ctx context.Context) (bool, error) {
		// It gives up at once on a definition that has no conditions yet.
		_, unready = command.Output(host.Kubectl(ctx, "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"))
		return unready == nil, nil
	}); err != nil {
		return nil, fmt.Errorf("definitions of snapshots: %w", errors.Join(err, unready))
	}
	nodeName := host.NodeNames()[0]
	if err := s.apply(ctx, strings.NewReplacer("DRIVER", Driver, "SECRET", SecretName, "NODE", nodeName).Replace(classes)); err != nil {
		return nil, fmt.Errorf("storage classes: %w", err)
	}
	if err := s.startAll(ctx, p.dir, nodeName); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	if err := s.awaitDriver(ctx, nodeName); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Storage) apply(ctx context.Context, manifests string) error {
	apply := s.host.Kubectl(ctx, "apply", "--server-side", "--force-conflicts", "-f", "-")
	apply.Stdin = strings.NewReader(manifests)
	_, err := command.Output(apply)
	return err
}

func (s *Storage) startAll(ctx context.Context, dir, nodeName string) error {
	const socket = "/var/lib/kubelet/plugins/" + Driver + "/csi.sock"
	sidecar := func(name string, flags ...string) []string {
		return append([]string{filepath.Join(dir, name), "--kubeconfig=" + s.host.Kubeconfig(), "--csi-address=" + socket,
			"--retry-interval-start=100ms", "--retry-interval-max=2s", "--kube-api-qps=100", "--kube-api-burst=200"}, flags...)
	}
	for _, argv := range [][]string{
		{filepath.Join(dir, tmpfsDriver), "--name=" + Driver, "--node=" + nodeName, "--data=/var/lib/tmpfsdriver"},
		// Capacities are of a namespace, which the provisioner learns from its pod.
		append([]string{"/usr/bin/env", "NAMESPACE=kube-system"}, sidecar(provisioner,
			"--extra-create-metadata", "--enable-capacity", "--capacity-ownerref-level=-1", "--capacity-poll-interval=5s")...),
		sidecar(resizer, "--handle-volume-inuse-error=false"),
		sidecar(snapshotter),
		{filepath.Join(dir, snapshotController), "--kubeconfig=" + s.host.Kubeconfig(), "--retry-interval-start=100ms", "--retry-interval-max=2s"},
	} {
		if err := s.start(ctx, argv); err != nil {
			return err
		}
	}
	return nil
}

// start runs a program in the first node. It ends with the node at the latest.
func (s *Storage) start(ctx context.Context, argv []string) error {
	name := filepath.Base(argv[slices.IndexFunc(argv, func(word string) bool {
		return word != "/usr/bin/env" && !strings.Contains(word, "=")
	})])
	log, err := os.OpenFile(filepath.Join(s.host.Logs(), name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	command := s.host.Command(context.WithoutCancel(ctx), 0, argv...)
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a Ctrl-C is for the test, which stops things in order
	if err := command.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	s.running = append(s.running, command)
	return nil
}

// Stop ends the programs. What they have made stays, and goes with the node.
func (s *Storage) Stop() error {
	for _, command := range slices.Backward(s.running) {
		_ = command.Process.Kill()
		_ = command.Wait()
	}
	s.running = nil
	return nil
}

// awaitDriver waits until kubelet has registered the driver, and labelled its node.
func (s *Storage) awaitDriver(ctx context.Context, nodeName string) error {
	client, err := s.host.Client()
	if err != nil {
		return err
	}
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, startPatience, true, func(ctx context.Context) (bool, error) {
		found, err := client.StorageV1().CSINodes().Get(ctx, nodeName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("wait for driver %s on node %s: %w", Driver, nodeName, err)
		}
		return slices.ContainsFunc(found.Spec.Drivers, func(driver storagev1.CSINodeDriver) bool { return driver.Name == Driver }), nil
	})
}
