// Package application is an ordinary application as a tenant's user installs it: NATS, from
// the chart in e2e/charts, with stock Helm. All of it is built from Go modules.
package application

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"nestling.dev/nestling/e2e/image"
)

// Names of the images, as the chart has them; the second one is that of an upgrade.
const (
	ServerImage        = "nestling.dev/e2e/nats:1"
	ServerImageUpgrade = "nestling.dev/e2e/nats:2"
	ClientImage        = "nestling.dev/e2e/natsbox:1"
)

// Application is built.
type Application struct {
	// Helm is the program, and Chart the directory of the chart.
	Helm, Chart string
	// Kustomize builds a directory, as kubectl does.
	Kustomize string
	bin       string
}

// Build compiles it into <root>/bin/apps; root is the repository's. The go command knows
// what is up to date.
func Build(ctx context.Context, root string) (*Application, error) {
	bin := filepath.Join(root, "bin", "apps")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-o", bin+string(filepath.Separator),
		"helm.sh/helm/v3/cmd/helm", "github.com/nats-io/nats-server/v2", "./cmd/natsbox", "./cmd/kustomize")
	command.Dir = filepath.Join(root, "e2e", "appbins")
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false -trimpath", "GOWORK=off")
	var said bytes.Buffer
	command.Stderr = &said
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("build helm and NATS: %w: %s", err, strings.TrimSpace(said.String()))
	}
	return &Application{
		Kustomize: filepath.Join(bin, "kustomize"),
		Helm:      filepath.Join(bin, "helm"), Chart: filepath.Join(root, "e2e", "charts", "nats"), bin: bin,
	}, nil
}

// Images that the nodes need.
func (a *Application) Images() []image.Image {
	program := func(name, binary string) image.Image {
		return image.Image{
			Name: name, Entrypoint: []string{"/" + binary}, User: "1000:1000",
			Layers: []image.Layer{{{Path: "/" + binary, Source: filepath.Join(a.bin, binary)}}},
		}
	}
	return []image.Image{
		program(ServerImage, "nats-server"), program(ServerImageUpgrade, "nats-server"), program(ClientImage, "natsbox"),
	}
}
