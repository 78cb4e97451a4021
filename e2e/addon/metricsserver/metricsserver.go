// Package metricsserver gives a host upstream's metrics-server, built from its Go module and
// installed by the manifests in it: what a platform team has in most clusters.
package metricsserver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"nestling.dev/nestling/e2e/command"
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
	nested := filepath.Join(root, "e2e", "metricsbins")
	if _, err := command.Go(ctx, nested, "build", "-ldflags", "-s -w", "-o", out+string(filepath.Separator), module+"/cmd/metrics-server"); err != nil {
		return nil, fmt.Errorf("build metrics-server: %w", err)
	}
	source, _, err := command.Module(ctx, nested, module)
	if err != nil {
		return nil, err
	}
	return &Server{
		binary:    filepath.Join(out, "metrics-server"),
		manifests: filepath.Join(source, "manifests", "base"),
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
	manifests, err := command.Output(host.Kubectl(ctx, "kustomize", s.manifests))
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
	if _, err := command.Output(apply); err != nil {
		return fmt.Errorf("install metrics-server: %w", err)
	}
	return nil
}
