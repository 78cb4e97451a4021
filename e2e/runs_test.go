package e2e

import (
	"context"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/e2e/bench"
	"nestling.dev/nestling/e2e/image"
	"nestling.dev/nestling/e2e/node"
	"nestling.dev/nestling/e2e/stories"
)

// runs is how many `nestling run` TestBenchRuns starts at once; `make run-twenty` sets it.
const runs = "NESTLING_RUNS"

// TestBenchRuns starts many runs at once on a real node that has nothing else to do; its last result is
// e2e/runs/RESULTS.md.
func TestBenchRuns(t *testing.T) {
	count, err := strconv.Atoi(os.Getenv(runs))
	if err != nil {
		t.Skip("only with " + runs + "=20 or so, see make run-twenty")
	}
	w := emptyWorld(t)
	t.Run("side by side", func(t *testing.T) { stories.SideBySide(t, w, count) })
}

// TestRunsOnTheirOwn tells the stories of runs on a real node that has nothing else to do; they are told among the others
// by TestRealNode.
func TestRunsOnTheirOwn(t *testing.T) {
	if os.Getenv(runs) != "stories" {
		t.Skip("only with " + runs + "=stories")
	}
	w := emptyWorld(t)
	for _, story := range stories.Runs() {
		if story.Real {
			t.Run(story.Name, func(t *testing.T) { story.Run(t, w) })
		}
	}
}

// emptyWorld is a real node without tenants.
func emptyWorld(t *testing.T) *stories.World {
	t.Helper()
	root, binary := product(t)
	host, release, err := node.Acquire(t.Context(), root, "runs", node.Options{Name: node.NameFor("run", root), Images: []image.Image{node.Product(binary)}})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), downPatience)
		defer cancel()
		require.NoError(t, release(ctx))
	})
	config, err := host.RESTConfig()
	require.NoError(t, err)
	client := clientOf(t, config)
	const namespace = "runs"
	_, err = client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) { // on a kept node
		require.NoError(t, err)
	}
	return &stories.World{
		Host: client, HostConfig: config, HostKubeconfig: host.Kubeconfig(), HostNamespace: namespace,
		Real: true, Image: node.ToolsImage, Kubectl: host.Kubectl(t.Context()).Path,
		Program: binary, ProductImage: node.ProductImage,
		Report: func(line string) { bench.Report(t, "real node: %s", line) },
	}
}
