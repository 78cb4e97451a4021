package simhost

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/kwok/pkg/kwok/controllers"
	"sigs.k8s.io/kwok/pkg/log"
)

// runKubelets plays the kubelets of all nodes that carry aliveLabel.
//
// KWOK's controllers end with ctx but cannot be awaited: some of their
// goroutines stay behind, blocked on channels that nobody reads any more. They
// hold nothing and do nothing.
func runKubelets(ctx context.Context, config *rest.Config, opts Options, ready func()) error {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return patience{next: next} })
	hostClient, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	// Not only for speed: with patience, a worker that waits for an answer is
	// blocked, and the workers of nodes must not wait behind those of pods.
	controller, err := controllers.NewController(controllers.Config{
		TypedClient:                  hostClient,
		RESTClient:                   hostClient.CoreV1().RESTClient(),
		ManageNodesWithLabelSelector: aliveLabel + "=true",
		LocalStages:                  stages(),
		FuncMap:                      stageFunctions(),
		CIDR:                         "10.128.0.0/24", // of nodes without a pod range: none
		NodeIP:                       nodeIP(0).String(),
		PodPlayStageParallelism:      uint(opts.PodParallelism),
		NodePlayStageParallelism:     4,
		NodeLeaseParallelism:         4,
		NodeLeaseDurationSeconds:     leaseSeconds(opts),
		PodsOnNodeSyncParallelism:    4,
		ID:                           "simulated-kubelets",
	})
	if err != nil {
		return fmt.Errorf("kwok: %w", err)
	}
	if err := controller.Start(log.NewContext(ctx, kwokLogger(opts.Logs))); err != nil {
		return fmt.Errorf("kwok: %w", err)
	}
	ready()
	<-ctx.Done()
	return nil
}

// leaseSeconds is four heartbeats, the share that KWOK and kubelets renew at.
func leaseSeconds(opts Options) uint { return uint(4 * opts.Heartbeat.Seconds()) }

// kwokLogger leaves out KWOK's line per write.
func kwokLogger(w io.Writer) *log.Logger { return log.NewLogger(w, log.LevelWarn) }
