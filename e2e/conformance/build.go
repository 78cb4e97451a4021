package conformance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"nestling.dev/nestling/e2e/command"
	"nestling.dev/nestling/e2e/node"
)

// Build compiles the suite and what goes into its images into <root>/bin/conformance, and
// gives the images and a cluster DNS to a host. The go command knows what is up to date.
func Build(ctx context.Context, root string, host *node.Host) (*Suite, error) {
	s := &Suite{host: host, root: root, programs: filepath.Join(root, "bin", "conformance"), hostPrograms: filepath.Join(root, "bin", "host")}
	if err := os.MkdirAll(s.programs, 0o755); err != nil {
		return nil, err
	}
	nested := filepath.Join(root, "e2e", "conformancebins")
	const kubernetes = "k8s.io/kubernetes"
	var version string
	var err error
	if s.upstream, version, err = command.Module(ctx, nested, kubernetes); err != nil {
		return nil, err
	}
	into := s.programs + string(filepath.Separator)
	for _, args := range [][]string{
		{"build", "-ldflags", "-s -w", "-o", into, "github.com/onsi/ginkgo/v2/ginkgo", "k8s.io/sample-apiserver",
			kubernetes + "/test/images/nonewprivs", kubernetes + "/test/images/regression-issue-74839",
			kubernetes + "/test/images/resource-consumer", kubernetes + "/test/images/resource-consumer/consume-cpu"},
		{"test", "-c", "-ldflags", "-s -w -X k8s.io/component-base/version.gitVersion=" + version, "-o", into + "e2e.test", kubernetes + "/test/e2e"},
	} {
		if _, err := command.Go(ctx, nested, args...); err != nil {
			return nil, fmt.Errorf("build the suite: %w", err)
		}
	}
	if _, err := command.Go(ctx, root, "build", "-ldflags", "-s -w", "-o", into, "./e2e/cmd/coredns"); err != nil {
		return nil, fmt.Errorf("build the host's DNS: %w", err)
	}
	if s.specs, err = s.list(ctx); err != nil {
		return nil, err
	}
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	return s, s.installDNS(ctx)
}
