package csi

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"nestling.dev/nestling/e2e/command"
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
	nested := filepath.Join(root, "e2e", "csibins")
	const group = "github.com/kubernetes-csi/"
	if _, err := command.Go(ctx, nested, "build", "-ldflags", "-s -w", "-o", out+string(filepath.Separator), "./cmd/"+tmpfsDriver,
		group+"external-provisioner/v6/cmd/"+provisioner, group+"external-resizer/v2/cmd/"+resizer,
		group+"external-snapshotter/v8/cmd/"+snapshotter, group+"external-snapshotter/v8/cmd/"+snapshotController); err != nil {
		return nil, fmt.Errorf("build the storage driver and its sidecars: %w", err)
	}
	source, _, err := command.Module(ctx, nested, definitionsModule)
	if err != nil {
		return nil, err
	}
	definitions, err := filepath.Glob(filepath.Join(source, "config", "crd", "snapshot.storage.k8s.io_*.yaml"))
	if err != nil || len(definitions) == 0 {
		return nil, fmt.Errorf("no definitions of snapshots in %s", source)
	}
	return &Programs{dir: out, definitions: definitions}, nil
}
