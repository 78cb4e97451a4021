// Package application is an ordinary application as a tenant's user installs it: NATS, from
// the chart in e2e/charts, with stock Helm. All of it is built from Go modules.
package application

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"nestling.dev/nestling/e2e/command"
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
	if _, err := command.Go(ctx, filepath.Join(root, "e2e", "appbins"), "build", "-ldflags", "-s -w", "-o", bin+string(filepath.Separator),
		"helm.sh/helm/v3/cmd/helm", "github.com/nats-io/nats-server/v2", "./cmd/natsbox", "./cmd/kustomize"); err != nil {
		return nil, fmt.Errorf("build helm and NATS: %w", err)
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
