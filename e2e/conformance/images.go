package conformance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"nestling.dev/nestling/e2e/image"
	"nestling.dev/nestling/e2e/rootfs"
)

// registry is where the suite's images are named to be (test/utils/image/manifest.go).
const registry = "registry.k8s.io/e2e-test-images/"

// coreDNSImage is that of the host's cluster DNS.
const coreDNSImage = "nestling.dev/e2e/coredns:1"

// welcome is what specs look for in the page of an nginx.
const welcome = "<html><title>Welcome to nginx!</title><h1>Welcome to nginx!</h1></html>\n"

// images are the suite's, under its names, from upstream's programs and Debian's. What they
// are not: nginx is busybox's httpd with nginx's page, and perl, glibc-dns-testing and
// ipc-utils are the tools alone.
func (s *Suite) images(ctx context.Context) ([]image.Image, error) {
	tools, err := toolRoot(ctx)
	if err != nil {
		return nil, err
	}
	built := func(path, name string) image.Layer {
		return image.Layer{{Path: path, Source: s.program(name)}}
	}
	agnhost := image.Layer{
		{Path: "/agnhost", Source: s.hostProgram("agnhost")},
		{Path: "/agnhost-2", Link: "agnhost"},
		{Path: "/localhost.crt", Source: filepath.Join(s.upstream, "test/images/agnhost/porter/localhost.crt")},
		{Path: "/localhost.key", Source: filepath.Join(s.upstream, "test/images/agnhost/porter/localhost.key")},
		{Path: "/uploads", Dir: true},
		{Path: "/coredns", Source: s.program("coredns")},
	}
	sh := []string{"sh"}
	nginx := image.Layer{{Path: "/usr/share/nginx/html/index.html", Text: welcome}}
	serve := []string{"/bin/httpd", "-f", "-p", "80", "-h", "/usr/share/nginx/html"}
	all := []image.Image{
		{Name: registry + "busybox:1.37.0-1", Cmd: sh, Layers: []image.Layer{tools}},
		{Name: registry + "nginx:1.15-4", Cmd: serve, Layers: []image.Layer{tools, nginx}},
		{Name: registry + "nginx:1.27-0", Cmd: serve, Layers: []image.Layer{tools, nginx}},
		{Name: registry + "nonewprivs:1.4", Cmd: []string{"nnp"}, Layers: []image.Layer{tools, {
			{Path: "/usr/local/bin/nnp", Source: s.program("nonewprivs"), Mode: os.ModeSetuid | 0o755}}}},
		{Name: registry + "regression-issue-74839:1.4", Entrypoint: []string{"/regression-issue-74839"}, Layers: []image.Layer{built("/regression-issue-74839", "regression-issue-74839")}},
		{Name: registry + "resource-consumer:1.14", Entrypoint: []string{"/consumer"}, Layers: []image.Layer{tools, {
			{Path: "/consumer", Source: s.program("resource-consumer")}, {Path: "/consume-cpu/consume-cpu", Source: s.program("consume-cpu")}}}},
		{Name: registry + "sample-apiserver:1.29.2", Entrypoint: []string{"/sample-apiserver"}, Layers: []image.Layer{built("/sample-apiserver", "sample-apiserver")}},
		// hostkube is etcd where its first word says so.
		{Name: "registry.k8s.io/etcd:3.6.8-0", Layers: []image.Layer{tools, {
			{Path: "/usr/local/bin/hostkube", Source: s.hostProgram("hostkube")},
			{Path: "/usr/local/bin/etcd", Text: "#!/bin/sh\nexec /usr/local/bin/hostkube etcd \"$@\"\n", Mode: 0o755}}}},
		{Name: registry + "nonroot:1.5", User: "1234", Cmd: []string{"/bin/id"}, Layers: []image.Layer{tools}},
		{Name: registry + "perl:5.26", Cmd: sh, Layers: []image.Layer{tools}},
		{Name: registry + "glibc-dns-testing:2.0.0", Cmd: sh, Layers: []image.Layer{tools}},
		{Name: registry + "ipc-utils:1.4", Cmd: sh, Layers: []image.Layer{tools}},
		{Name: "registry.k8s.io/pause:3.10.2", Entrypoint: []string{"/pause"}, User: "65535:65535", Layers: []image.Layer{{{Path: "/pause", Source: s.hostProgram("pause")}}}},
		{Name: coreDNSImage, Entrypoint: []string{"/coredns"}, Layers: []image.Layer{built("/coredns", "coredns")}},
	}
	for _, version := range []string{"2.63.0", "2.55"} {
		all = append(all, image.Image{Name: registry + "agnhost:" + version, Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"}, Layers: []image.Layer{tools, agnhost}})
	}
	for _, name := range []string{"kitten", "nautilus"} {
		data := filepath.Join(s.upstream, "test/images", name, "html/data.json")
		all = append(all, image.Image{Name: registry + name + ":1.8", Entrypoint: []string{"/agnhost"}, Cmd: []string{"test-webserver"}, Layers: []image.Layer{tools, {
			{Path: "/agnhost", Source: s.hostProgram("agnhost")}, {Path: "/data.json", Source: data}}}})
	}
	return all, nil
}

// toolRoot has what specs run in a shell. The shell is bash: busybox's prefers its own
// applets to programs in PATH, and dash drops variables whose names have dots or dashes.
func toolRoot(ctx context.Context) (image.Layer, error) {
	layer, err := rootfs.Busybox(ctx, "wget", "nc", "nslookup", "ip", "hostname", "bash", "sh", "ash")
	if err != nil {
		return nil, err
	}
	// Debian's static wget crashes on -T, and busybox has no printenv.
	programs, err := rootfs.Programs(ctx, "wget", "printenv", "bash", "curl", "dig", "nslookup", "nc.openbsd", "ip", "hostname", "getent")
	if err != nil {
		return nil, err
	}
	for i, file := range programs {
		if file.Path == "/usr/bin/nc.openbsd" {
			programs[i].Path = "/usr/bin/nc"
		}
	}
	layer = append(layer, programs...)
	for _, name := range []string{"sh", "bash"} {
		layer = append(layer, image.File{Path: "/bin/" + name, Link: "/usr/bin/bash"})
	}
	return append(layer,
		image.File{Path: "/etc/passwd", Text: "root:x:0:0:root:/root:/bin/sh\nuser-defined-in-image:x:1000:1000::/:/bin/sh\n"},
		image.File{Path: "/etc/group", Text: "root:x:0:\nuser-defined-in-image:x:1000:\ngroup-defined-in-image:x:50000:user-defined-in-image\n"},
	), nil
}

// load makes the images available on every node.
func (s *Suite) load(ctx context.Context) error {
	images, err := s.images(ctx)
	if err != nil {
		return fmt.Errorf("images of the suite: %w", err)
	}
	for _, img := range images {
		if err := s.host.ImportImage(ctx, img); err != nil {
			return err
		}
	}
	return nil
}
