package node

import (
	"context"
	"fmt"
	"io"
	"os"

	"nestling.dev/nestling/e2e/image"
	"nestling.dev/nestling/e2e/rootfs"
)

// Names of the images that every node has.
const (
	// PauseImage holds a pod's namespaces.
	PauseImage = "registry.k8s.io/pause:3.10"
	// AgnhostImage is upstream's test server; entrypoint /agnhost, no shell.
	AgnhostImage = "registry.k8s.io/e2e-test-images/agnhost:2.63.0"
	// ToolsImage has a shell with busybox's tools, curl, agnhost and kubectl; it sleeps.
	ToolsImage = "nestling.dev/e2e/tools:1"
	// ProductImage is that of the tests: no release has its tag.
	ProductImage = "nestling.dev/nestling:dev"
)

// Product describes the product's image: the static binary and nothing else. `make
// image` writes the same under the release's name, with scripts/mkimage.
func Product(binary string) image.Image {
	return image.Image{
		Name: ProductImage, Entrypoint: []string{"/nestling"}, User: "65532:65532",
		Layers: []image.Layer{{{Path: "/nestling", Source: binary}}},
	}
}

// StandardImages describes the images that every node has.
func StandardImages(ctx context.Context, programs string) ([]image.Image, error) {
	binary := func(name string) image.Layer {
		return image.Layer{{Path: "/" + name, Source: programs + "/" + name}}
	}
	// Debian's static wget crashes on -T; curl is there.
	shell, err := rootfs.Busybox(ctx, "wget")
	if err != nil {
		return nil, fmt.Errorf("node: tools image: %w", err)
	}
	shell = append(shell,
		image.File{Path: "/bin/agnhost", Link: "/agnhost"},
		image.File{Path: "/etc/passwd", Text: "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"},
		image.File{Path: "/etc/group", Text: "root:x:0:\nnogroup:x:65534:\n"},
	)
	curl, err := rootfs.Programs(ctx, "curl")
	if err != nil {
		return nil, fmt.Errorf("node: tools image: %w", err)
	}
	agnhost := binary("agnhost")
	return []image.Image{
		{Name: PauseImage, Entrypoint: []string{"/pause"}, User: "65535:65535", Layers: []image.Layer{binary("pause")}},
		{Name: AgnhostImage, Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"}, Layers: []image.Layer{agnhost}},
		{
			Name: ToolsImage, Cmd: []string{"/bin/sh", "-c", "trap exit TERM; while :; do sleep 1 & wait; done"},
			Layers: []image.Layer{agnhost, {{Path: "/bin/kubectl", Source: programs + "/kubectl"}}, shell, curl},
		},
	}, nil
}

// importImage streams an archive into the containerd of a node.
func (h *Host) importImage(ctx context.Context, node int, write func(io.Writer) error) error {
	command := h.layout.inNode(ctx, h.groups, node, "ctr", "--namespace=k8s.io", "images", "import", "-")
	reader, writer := io.Pipe()
	go func() { _ = writer.CloseWithError(write(writer)) }()
	command.Stdin = reader
	err := run(command)
	// The error makes a writer stop that ctr has not read to the end.
	_ = reader.CloseWithError(io.ErrClosedPipe)
	return err
}

// ImportImage makes an image available on every node.
func (h *Host) ImportImage(ctx context.Context, img image.Image) error {
	for i := range h.layout.Nodes {
		if err := h.importImage(ctx, i, func(w io.Writer) error { return image.Write(w, img) }); err != nil {
			return fmt.Errorf("node: import %s on %s: %w", img.Name, h.layout.nodeName(i), err)
		}
	}
	return nil
}

// Import makes the images of an archive available on every node.
func (h *Host) Import(ctx context.Context, archive string) error {
	for i := range h.layout.Nodes {
		err := h.importImage(ctx, i, func(w io.Writer) error {
			file, err := os.Open(archive)
			if err != nil {
				return err
			}
			defer file.Close()
			_, err = io.Copy(w, file)
			return err
		})
		if err != nil {
			return fmt.Errorf("node: import %s on %s: %w", archive, h.layout.nodeName(i), err)
		}
	}
	return nil
}
