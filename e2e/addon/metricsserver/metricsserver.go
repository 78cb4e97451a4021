// Package metricsserver gives a host upstream's metrics-server, built from its Go module and
// installed by the manifests in it: what a platform team has in most clusters.
package metricsserver

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"nestling.dev/nestling/e2e/image"
	"nestling.dev/nestling/e2e/node"
)

const (
	module = "sigs.k8s.io/metrics-server"
	// upstreamImage is in the manifests of the module, and ours takes its place.
	upstreamImage = "gcr.io/k8s-staging-metrics-server/metrics-server:master"
	imageName     = "nestling.dev/e2e/metrics-server:1"
)

// Server is metrics-server, built.
type Server struct {
	binary    string
	manifests string // directory for kustomize
}

// Build compiles it into <root>/bin/apps; root is the repository's. The go command knows
// what is up to date.
func Build(ctx context.Context, root string) (*Server, error) {
	out := filepath.Join(root, "bin", "apps")
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	goCommand := func(args ...string) ([]byte, error) {
		command := exec.CommandContext(ctx, "go", args...)
		command.Dir = filepath.Join(root, "e2e", "metricsbins")
		command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false -trimpath", "GOWORK=off")
		return output(command)
	}
	if _, err := goCommand("build", "-ldflags", "-s -w", "-o", out+string(filepath.Separator), module+"/cmd/metrics-server"); err != nil {
		return nil, fmt.Errorf("build metrics-server: %w", err)
	}
	source, err := goCommand("list", "-m", "-f", "{{.Dir}}", module)
	if err != nil {
		return nil, fmt.Errorf("find metrics-server's manifests: %w", err)
	}
	return &Server{
		binary:    filepath.Join(out, "metrics-server"),
		manifests: filepath.Join(strings.TrimSpace(string(source)), "manifests", "base"),
	}, nil
}

// Image that the node needs.
func (s *Server) Image() image.Image {
	return image.Image{
		Name: imageName, Entrypoint: []string{"/metrics-server"}, User: "1000:1000",
		Layers: []image.Layer{{{Path: "/metrics-server", Source: s.binary}}},
	}
}

// Install applies the manifests. Usage of pods is known about half a minute later.
func (s *Server) Install(ctx context.Context, host *node.Host) error {
	manifests, err := output(host.Kubectl(ctx, "kustomize", s.manifests))
	if err != nil {
		return fmt.Errorf("install metrics-server: %w", err)
	}
	text := strings.NewReplacer(
		upstreamImage, imageName,
		// Kubelets of the test's nodes have certificates of no authority that pods know; and
		// a story waits for every look at them. 10 s is the shortest that there is.
		"- --metric-resolution=15s", "- --metric-resolution=10s\n        - --kubelet-request-timeout=5s\n        - --kubelet-insecure-tls",
		"initialDelaySeconds: 20", "initialDelaySeconds: 1",
	).Replace(string(manifests))
	apply := host.Kubectl(ctx, "apply", "-f", "-")
	apply.Stdin = strings.NewReader(text)
	if _, err := output(apply); err != nil {
		return fmt.Errorf("install metrics-server: %w", err)
	}
	return nil
}

// output of a program; the error carries what it said.
func output(command *exec.Cmd) ([]byte, error) {
	var out, said bytes.Buffer
	command.Stdout, command.Stderr = &out, &said
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(command.Args, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return out.Bytes(), nil
}
