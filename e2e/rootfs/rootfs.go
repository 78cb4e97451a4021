// Package rootfs makes the root filesystems of test images out of programs that this
// machine has from Debian's packages.
package rootfs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"nestling.dev/nestling/e2e/image"
)

// SearchPath is where Debian puts the programs; a test may have a shorter PATH.
const SearchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Find looks a program up in SearchPath rather than in PATH.
func Find(name string) (string, error) {
	if filepath.IsAbs(name) {
		return exec.LookPath(name)
	}
	for _, dir := range filepath.SplitList(SearchPath) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: not in %s", name, SearchPath)
}

// Busybox is Debian's static busybox with a name for each of its tools but those of
// without, and the directories that programs expect.
func Busybox(ctx context.Context, without ...string) (image.Layer, error) {
	source, err := Find("busybox")
	if err != nil {
		return nil, fmt.Errorf("root filesystem: %w", err)
	}
	list, err := exec.CommandContext(ctx, source, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("root filesystem: busybox --list: %w", err)
	}
	layer := image.Layer{
		{Path: "/bin/busybox", Source: source},
		{Path: "/tmp", Dir: true, Mode: os.ModeSticky | 0o777},
		{Path: "/root", Dir: true},
		{Path: "/etc/nsswitch.conf", Text: "hosts: files dns\n"},
	}
	for _, tool := range strings.Fields(string(list)) {
		if tool != "busybox" && !slices.Contains(without, tool) {
			layer = append(layer, image.File{Path: "/bin/" + tool, Link: "busybox"})
		}
	}
	return layer, nil
}

// Programs are programs of this machine, in /usr/bin, together with the libraries that
// they are linked to.
func Programs(ctx context.Context, names ...string) (image.Layer, error) {
	var layer image.Layer
	seen := map[string]bool{}
	for _, name := range names {
		source, err := Find(name)
		if err != nil {
			return nil, fmt.Errorf("root filesystem: %w", err)
		}
		list, err := exec.CommandContext(ctx, "ldd", source).Output()
		if err != nil {
			return nil, fmt.Errorf("root filesystem: ldd %s: %w", source, err)
		}
		layer = append(layer, image.File{Path: "/usr/bin/" + name, Source: source})
		for _, word := range strings.Fields(string(list)) {
			// "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)"
			if strings.HasPrefix(word, "/") && !seen[word] {
				seen[word] = true
				layer = append(layer, image.File{Path: word, Source: word})
			}
		}
	}
	return layer, nil
}
