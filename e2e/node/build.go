package node

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"nestling.dev/nestling/e2e/command"
)

// Build compiles the programs of a host into <root>/bin/host and returns that
// directory; root is the repository's. The go command knows what is up to date.
func Build(ctx context.Context, root string) (string, error) {
	out := filepath.Join(root, "bin", "host")
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", err
	}
	nested := filepath.Join(root, "e2e", "hostbins")
	_, version, err := command.Module(ctx, nested, "k8s.io/kubernetes")
	if err != nil {
		return "", fmt.Errorf("node: %w", err)
	}
	// Static, since agnhost and kubectl go into images without a libc.
	if _, err := command.Go(ctx, nested, "build", "-ldflags", versionFlags(version), "-o", out+string(filepath.Separator),
		"./cmd/hostkube", "./cmd/pause", "k8s.io/kubernetes/cmd/kubectl", "k8s.io/kubernetes/test/images/agnhost"); err != nil {
		return "", fmt.Errorf("node: build the programs of the host: %w", err)
	}
	return out, nil
}

// versionFlags give /version and `kubectl version` an answer.
func versionFlags(version string) string {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	flags := []string{"-s", "-w"}
	for _, target := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags = append(flags, "-X", target+".gitVersion="+version, "-X", target+".gitMajor="+parts[0], "-X", target+".gitMinor="+parts[1])
	}
	return strings.Join(flags, " ")
}

// Root is the directory of the repository's module, from anywhere within it.
func Root(ctx context.Context) (string, error) {
	output, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "nestling.dev/nestling").Output()
	if err != nil {
		return "", fmt.Errorf("node: not inside the repository: %w", err)
	}
	return strings.TrimSpace(string(output)), nil
}
