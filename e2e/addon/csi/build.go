package csi

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	provisioner        = "csi-provisioner"
	resizer            = "csi-resizer"
	snapshotter        = "csi-snapshotter"
	snapshotController = "snapshot-controller"
	tmpfsDriver        = "tmpfsdriver"

	definitionsModule = "github.com/kubernetes-csi/external-snapshotter/client/v8"
)

// Programs are the built ones, and the definitions of snapshots.
type Programs struct {
	dir         string
	definitions []string // files
}

// Build compiles the programs into <root>/bin/csi; root is the repository's. The go command
// knows what is up to date.
func Build(ctx context.Context, root string) (*Programs, error) {
	out := filepath.Join(root, "bin", "csi")
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	goCommand := func(args ...string) (string, error) {
		command := exec.CommandContext(ctx, "go", args...)
		command.Dir = filepath.Join(root, "e2e", "csibins")
		command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false -trimpath", "GOWORK=off")
		return output(command)
	}
	const group = "github.com/kubernetes-csi/"
	if _, err := goCommand("build", "-ldflags", "-s -w", "-o", out+string(filepath.Separator), "./cmd/"+tmpfsDriver,
		group+"external-provisioner/v6/cmd/"+provisioner, group+"external-resizer/v2/cmd/"+resizer,
		group+"external-snapshotter/v8/cmd/"+snapshotter, group+"external-snapshotter/v8/cmd/"+snapshotController); err != nil {
		return nil, fmt.Errorf("build the storage driver and its sidecars: %w", err)
	}
	source, err := goCommand("list", "-m", "-f", "{{.Dir}}", definitionsModule)
	if err != nil {
		return nil, fmt.Errorf("find the definitions of snapshots: %w", err)
	}
	definitions, err := filepath.Glob(filepath.Join(strings.TrimSpace(source), "config", "crd", "snapshot.storage.k8s.io_*.yaml"))
	if err != nil || len(definitions) == 0 {
		return nil, fmt.Errorf("no definitions of snapshots in %s", strings.TrimSpace(source))
	}
	return &Programs{dir: out, definitions: definitions}, nil
}

// output of a program; the error carries what it said.
func output(command *exec.Cmd) (string, error) {
	var said strings.Builder
	command.Stderr = &said
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(command.Args, " "), err, strings.TrimSpace(said.String()))
	}
	return string(out), nil
}
