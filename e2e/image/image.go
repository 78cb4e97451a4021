// Package image writes container images without a container tool.
//
// An Image is a description; Write turns it into one tar that is an OCI layout
// and a docker-archive at once, so that `ctr images import`, `docker load`,
// `podman load` and `kind load image-archive` all read it. The same description
// and the same files give the same bytes: no clock, no owner, no map order.
package image

import (
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
)

// Image describes one image.
type Image struct {
	// Name is fully qualified with a tag: "registry.example/path:tag".
	Name string
	// Architecture is Go's name of it; this machine's when empty.
	Architecture string
	Entrypoint   []string
	Cmd          []string
	// User is "uid", "uid:gid" or a name from the image's own /etc/passwd.
	User       string
	WorkingDir string
	Env        []string
	Labels     map[string]string
	// Layers from the lowest to the highest. A layer that several images share
	// is stored once by the runtime that imports them.
	Layers []Layer
}

// Layer is a list of files; parent directories are made as needed.
type Layer []File

// File is one entry: exactly one of Source, Link, Text or Dir says what it holds.
type File struct {
	// Path inside the image, absolute or not.
	Path string
	// Source is a regular file of this machine.
	Source string
	// Link is the target of a symbolic link.
	Link string
	// Text is inline content; an empty file if everything is empty.
	Text string
	// Dir makes an empty directory.
	Dir bool
	// Mode is the permissions; the source's with read and execute for all, 0644 for
	// text and 0755 for directories when zero.
	Mode fs.FileMode
}

// defaultPath is what container runtimes assume too; tools in a shell expect it to be set.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// validate refuses what a runtime would accept and then not find again.
func (i Image) validate() error {
	registry, rest, ok := strings.Cut(i.Name, "/")
	if !ok || !strings.ContainsAny(registry, ".:") {
		return fmt.Errorf("image: name %q: want registry/path:tag with a registry that has a dot", i.Name)
	}
	if _, tag, ok := strings.Cut(rest, ":"); !ok || tag == "" {
		return fmt.Errorf("image: name %q: want a tag", i.Name)
	}
	for n, layer := range i.Layers {
		seen := map[string]bool{}
		for _, file := range layer {
			p := file.clean()
			if p == "" {
				return fmt.Errorf("image: %s: layer %d: path %q names no file", i.Name, n, file.Path)
			}
			if seen[p] {
				return fmt.Errorf("image: %s: layer %d: path %q twice", i.Name, n, p)
			}
			seen[p] = true
			kinds := 0
			for _, set := range []bool{file.Source != "", file.Link != "", file.Text != "", file.Dir} {
				if set {
					kinds++
				}
			}
			if kinds > 1 {
				return fmt.Errorf("image: %s: layer %d: path %q has more than one of source, link, text and dir", i.Name, n, p)
			}
		}
	}
	return nil
}

// clean is the path as a tar carries it: relative, without dots.
func (f File) clean() string {
	return strings.TrimPrefix(path.Clean("/"+f.Path), "/")
}

// config is the OCI image configuration, in the field order of the specification.
type config struct {
	Architecture string        `json:"architecture"`
	OS           string        `json:"os"`
	Config       runtimeConfig `json:"config"`
	RootFS       rootFS        `json:"rootfs"`
}

type runtimeConfig struct {
	User       string            `json:"User,omitempty"`
	Env        []string          `json:"Env,omitempty"`
	Entrypoint []string          `json:"Entrypoint,omitempty"`
	Cmd        []string          `json:"Cmd,omitempty"`
	WorkingDir string            `json:"WorkingDir,omitempty"`
	Labels     map[string]string `json:"Labels,omitempty"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

func (i Image) config(layers []blob) config {
	c := config{
		Architecture: i.architecture(),
		OS:           "linux",
		Config: runtimeConfig{
			User: i.User, Env: slices.Clone(i.Env), Entrypoint: i.Entrypoint, Cmd: i.Cmd,
			WorkingDir: i.WorkingDir, Labels: i.Labels,
		},
		RootFS: rootFS{Type: "layers", DiffIDs: []string{}},
	}
	if !slices.ContainsFunc(c.Config.Env, func(e string) bool { return strings.HasPrefix(e, "PATH=") }) {
		c.Config.Env = append([]string{defaultPath}, c.Config.Env...)
	}
	for _, layer := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, "sha256:"+layer.digest)
	}
	return c
}

func (i Image) architecture() string {
	if i.Architecture == "" {
		return runtime.GOARCH
	}
	return i.Architecture
}
