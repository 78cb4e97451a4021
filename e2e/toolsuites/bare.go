package toolsuites

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"nestling.dev/nestling/e2e/command"
)

//go:embed unscheduled.yaml
var unscheduledPolicy string

const (
	// policyPatience is how long an admission policy may take to be in force.
	policyPatience = time.Minute
	// nobody is the scheduler that the policy names.
	nobody = "nobody"
)

// bare makes a target like the clusters that upstream's tests are written for, which are new
// for each suite and run no pod.
type bare struct {
	kubectl    string
	kubeconfig string
	// before are the objects that were there.
	before []string
}

// kept are the kinds of which tests leave objects that disturb others.
const (
	keptOfCluster = "namespaces,nodes,validatingwebhookconfigurations,mutatingwebhookconfigurations,customresourcedefinitions,persistentvolumes,storageclasses,clusterroles,clusterrolebindings"
	keptOfDefault = "deployments,replicasets,replicationcontrollers,statefulsets,daemonsets,jobs,cronjobs,pods,services,configmaps,secrets,serviceaccounts,persistentvolumeclaims"
)

func (b *bare) run(ctx context.Context, input string, args ...string) (string, error) {
	kubectl := exec.CommandContext(ctx, b.kubectl, append([]string{"--kubeconfig", b.kubeconfig}, args...)...)
	kubectl.Stdin = strings.NewReader(input)
	out, err := command.Output(kubectl)
	return string(out), err
}

// begin sees to it that no pod is scheduled, and remembers what there is.
func (b *bare) begin(ctx context.Context) error {
	if _, err := b.run(ctx, unscheduledPolicy, "apply", "-f", "-"); err != nil {
		return err
	}
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, policyPatience, true, func(ctx context.Context) (bool, error) {
		scheduler, err := b.run(ctx, "", "run", "probe", "--image=none", "--namespace=default", "--dry-run=server", "-o", "jsonpath={.spec.schedulerName}")
		return scheduler == nobody, err
	})
	if err != nil {
		return fmt.Errorf("keep pods unscheduled: %w", err)
	}
	b.before, err = b.list(ctx)
	return err
}

// list names objects of the cluster, and those of the namespace default.
func (b *bare) list(ctx context.Context) ([]string, error) {
	cluster, err := b.run(ctx, "", "get", keptOfCluster, "-o", "name")
	if err != nil {
		return nil, err
	}
	namespaced, err := b.run(ctx, "", "get", keptOfDefault, "--namespace=default", "-o", "name")
	return append(strings.Fields(cluster), strings.Fields(namespaced)...), err
}

// tidy deletes what has been added since begin.
func (b *bare) tidy(ctx context.Context) error {
	now, err := b.list(ctx)
	if err != nil {
		return err
	}
	added := slices.DeleteFunc(now, func(name string) bool { return slices.Contains(b.before, name) })
	if len(added) == 0 {
		return nil
	}
	// Webhooks come first: they stand in the way of deletions.
	slices.SortStableFunc(added, func(x, y string) int { return webhooksFirst(x) - webhooksFirst(y) })
	_, err = b.run(ctx, "", append([]string{"delete", "--namespace=default", "--ignore-not-found", "--timeout=2m"}, added...)...)
	return err
}

func webhooksFirst(name string) int {
	if strings.Contains(name, "webhookconfiguration") {
		return 0
	}
	return 1
}

// end undoes begin.
func (b *bare) end(ctx context.Context) error {
	err := b.tidy(ctx)
	_, failed := b.run(ctx, unscheduledPolicy, "delete", "--ignore-not-found", "-f", "-")
	return errors.Join(err, failed)
}
