package conformance

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/clientcmd"

	"nestling.dev/nestling/e2e/node"
)

const (
	// tenantName and tenantNamespace are of the tenant under test.
	tenantName, tenantNamespace = "conformance", "tenants"
	// startPatience is for a busy machine; seconds are usual.
	startPatience = 3 * time.Minute
)

// Host is the cluster beneath.
func (s *Suite) Host() Target { return Target{Name: hostTarget, Kubeconfig: s.host.Kubeconfig()} }

// Tenant puts one with the default configuration on the host, or finds it there: the image
// and no other flag.
func (s *Suite) Tenant(ctx context.Context) (Target, error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	fail := func(err error) (Target, error) { return Target{}, fmt.Errorf("install the tenant: %w", err) }
	manifests, err := exec.CommandContext(ctx, filepath.Join(s.root, "bin", "nestling"), "manifests", tenantName, "-n", tenantNamespace, "--image", node.ProductImage).Output()
	if err != nil {
		return fail(fmt.Errorf("nestling manifests: %w", err))
	}
	namespace := "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + tenantNamespace + "}\n---\n"
	if err := s.apply(ctx, namespace+string(manifests)); err != nil {
		return fail(err)
	}
	client, err := s.host.Client()
	if err != nil {
		return fail(err)
	}
	var kubeconfig []byte
	err = wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		secret, err := client.CoreV1().Secrets(tenantNamespace).Get(ctx, tenantName+"-kubeconfig", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		if err == nil {
			kubeconfig = secret.Data["config"]
		}
		return err == nil, err
	})
	if err != nil {
		return fail(fmt.Errorf("kubeconfig: %w", err))
	}
	// Its server is a name that only pods of the host resolve.
	service, err := client.CoreV1().Services(tenantNamespace).Get(ctx, tenantName, metav1.GetOptions{})
	if err != nil {
		return fail(err)
	}
	file, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return fail(fmt.Errorf("kubeconfig: %w", err))
	}
	for _, cluster := range file.Clusters {
		cluster.Server = "https://" + service.Spec.ClusterIP
	}
	target := Target{Name: tenantTarget, Kubeconfig: filepath.Join(s.root, ".cache", "conformance", "tenant.kubeconfig")}
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
