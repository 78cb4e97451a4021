// Package command runs programs for tests, the go command above all: it builds what hosts and
// images are made of, from nested modules.
package command

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Output is the standard output of a program; the error carries what it complained of.
func Output(command *exec.Cmd) ([]byte, error) {
	var out, said bytes.Buffer
	command.Stdout, command.Stderr = &out, &said
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(command.Args, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return out.Bytes(), nil
}

// Go is the output of the go command in a directory, which is that of a module. What it
// builds is static, since most goes into images without a libc; its flags are those of the
// repository's other builds, so that they share a cache.
func Go(ctx context.Context, dir string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = dir
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false -trimpath", "GOWORK=off")
	out, err := Output(command)
	return string(out), err
}

// Module is where the sources of a module are, and its version, as the module in dir pins it.
func Module(ctx context.Context, dir, path string) (source, version string, err error) {
	out, err := Go(ctx, dir, "list", "-m", "-f", "{{.Dir}}\n{{.Version}}", path)
	if err != nil {
		return "", "", fmt.Errorf("find the sources of %s: %w", path, err)
	}
	source, version, _ = strings.Cut(strings.TrimSpace(out), "\n")
	return source, version, nil
}
