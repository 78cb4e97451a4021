package conformance

import (
	"context"
	_ "embed"
	"fmt"
	"path/filepath"
	"strings"

	"nestling.dev/nestling/e2e/command"
	"nestling.dev/nestling/e2e/node"
)

// Suite is upstream's, built, beside a host that has its images.
type Suite struct {
	host *node.Host
	// root is the repository's directory, programs that of what Build has built, and
	// hostPrograms that of the host's.
	root, programs, hostPrograms string
	// upstream is the directory of Kubernetes's sources.
	upstream string
	// specs are the names of all of them.
	specs []string
}

func (s *Suite) program(name string) string     { return filepath.Join(s.programs, name) }
func (s *Suite) hostProgram(name string) string { return filepath.Join(s.hostPrograms, name) }

//go:embed dns.yaml
var clusterDNS string

// installDNS gives the host the cluster DNS that its pods' resolv.conf speaks of.
func (s *Suite) installDNS(ctx context.Context) error {
	text := strings.NewReplacer("IMAGE", coreDNSImage, "ADDRESS", s.host.ClusterDNS()).Replace(clusterDNS)
	if err := s.apply(ctx, text); err != nil {
		return fmt.Errorf("cluster DNS of the host: %w", err)
	}
	return nil
}

func (s *Suite) apply(ctx context.Context, manifests string) error {
	apply := s.host.Kubectl(ctx, "apply", "-f", "-")
	apply.Stdin = strings.NewReader(manifests)
	_, err := command.Output(apply)
	return err
}
