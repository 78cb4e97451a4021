package conformance

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/clientcmd"

	"nestling.dev/nestling/e2e/command"
	"nestling.dev/nestling/e2e/kubeconfig"
	"nestling.dev/nestling/e2e/node"
)

const (
	// tenantName and tenantNamespace are of the tenant under test.
	tenantName, tenantNamespace = "conformance", "tenants"
	// startPatience is for a busy machine; seconds are usual.
	startPatience = 3 * time.Minute
)

// Host is the cluster beneath.
func (s *Suite) Host() Target { return Target{Name: Host, Kubeconfig: s.host.Kubeconfig()} }

// Tenant puts one with the default configuration on the host, or finds it there: the image
// and no other flag.
func (s *Suite) Tenant(ctx context.Context) (Target, error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	fail := func(err error) (Target, error) { return Target{}, fmt.Errorf("install the tenant: %w", err) }
	manifests, err := command.Output(exec.CommandContext(ctx, filepath.Join(s.root, "bin", "nestling"), "manifests", tenantName, "-n", tenantNamespace, "--image", node.ProductImage))
	if err != nil {
		return fail(err)
	}
	namespace := "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + tenantNamespace + "}\n---\n"
	if err := s.apply(ctx, namespace+string(manifests)); err != nil {
		return fail(err)
	}
	client, err := s.host.Client()
	if err != nil {
		return fail(err)
	}
	content, server, err := kubeconfig.Await(ctx, client, tenantNamespace, tenantName)
	if err != nil {
		return fail(err)
	}
	file, err := kubeconfig.At(content, server)
	if err != nil {
		return fail(fmt.Errorf("kubeconfig: %w", err))
	}
	target := Target{Name: Tenant, Kubeconfig: filepath.Join(s.root, ".cache", "conformance", "tenant.kubeconfig")}
	if err := os.MkdirAll(filepath.Dir(target.Kubeconfig), 0o755); err != nil {
		return fail(err)
	}
	if err := clientcmd.WriteToFile(*file, target.Kubeconfig); err != nil {
		return fail(err)
	}
	// As the suite does: nodes that pods can be placed on.
	err = wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		out, err := exec.CommandContext(ctx, s.hostProgram("kubectl"), "--kubeconfig", target.Kubeconfig, "get", "nodes", "-o", "name").Output()
		return err == nil && len(strings.Fields(string(out))) == len(s.host.NodeNames()), nil
	})
	if err != nil {
		return fail(fmt.Errorf("its nodes: %w", err))
	}
	return target, nil
}
