package operators

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"nestling.dev/nestling/e2e/command"
	"nestling.dev/nestling/e2e/image"
)

// Set is the operators, built.
type Set struct {
	module string // directory of the nested module
	bin    string
	tools  Tools
}

// Tools are the programs of those who install operators, by their paths.
type Tools struct{ Kubectl, Helm string }

// Packages of the nested module, and what their binaries are called.
const (
	sampleAPIServer = "k8s.io/sample-apiserver"
	etcd            = "go.etcd.io/etcd/server/v3"
	clusterAPI      = "sigs.k8s.io/cluster-api/core"
)

// Build compiles them into <root>/bin/operators; root is the repository's. The go command
// knows what is up to date.
func Build(ctx context.Context, root string, tools Tools) (*Set, error) {
	set := &Set{module: filepath.Join(root, "e2e", "operatorbins"), bin: filepath.Join(root, "bin", "operators"), tools: tools}
	if err := os.MkdirAll(set.bin, 0o755); err != nil {
		return nil, err
	}
	_, err := command.Go(ctx, set.module, "build", "-ldflags", "-s -w", "-o", set.bin+string(filepath.Separator),
		"./cmd/certmanager", sampleAPIServer, etcd, clusterAPI)
	if err != nil {
		return nil, fmt.Errorf("operators: build: %w", err)
	}
	return set, nil
}

// source is the directory of a module of the nested module's graph, in Go's cache.
func (s *Set) source(ctx context.Context, path string) (string, error) {
	source, _, err := command.Module(ctx, s.module, path)
	return source, err
}

// registry of the images. Nothing is ever pulled from it.
const registry = "nestling.dev/e2e/"

// tag of every image: the chart and the manifests want one.
const tag = "e2e"

func imageName(name string) string { return registry + name + ":" + tag }

// Images describes what a node needs to run them.
func (s *Set) Images() []image.Image {
	binary := func(inside, name string) image.Layer {
		return image.Layer{{Path: inside, Source: filepath.Join(s.bin, name)}}
	}
	images := []image.Image{
		// Its manifest of upstream's wants to write its certificate beside the binary, and etcd its data.
		{Name: imageName("sample-apiserver"), Entrypoint: []string{"/sample-apiserver"}, Layers: []image.Layer{binary("/sample-apiserver", "sample-apiserver")}},
		{Name: imageName("etcd"), Entrypoint: []string{"/etcd"}, Layers: []image.Layer{binary("/etcd", "server")}},
		{Name: imageName("cluster-api"), User: "65532:65532", Layers: []image.Layer{append(binary("/manager", "core"), temporary())}},
	}
	for _, program := range certManagerPrograms() {
		images = append(images, image.Image{
			Name: imageName("cert-manager-" + program), User: "1000:1000", Entrypoint: []string{"/certmanager", program},
			Layers: []image.Layer{binary("/certmanager", "certmanager")},
		})
	}
	return images
}

func certManagerPrograms() []string { return []string{"controller", "webhook", "cainjector"} }

func temporary() image.File { return image.File{Path: "/tmp", Dir: true, Mode: os.ModeSticky | 0o777} }
