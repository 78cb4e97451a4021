package simhost

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/lifecycle"
)

// components of the host, in the order of their start.
func (h *Host) components() ([]lifecycle.Component, error) {
	manager, err := controlplane.NewControllerManager(controlplane.ControllerManagerOptions{
		ClientConfig: func() (*rest.Config, error) { return h.ConfigFor(controlplane.ControllerManagerUser) },
		PKI:          h.bundle,
		Dir:          filepath.Join(h.opts.Dir, "controller-manager"),
		Controllers:  []string{"*", "-node-ipam-controller", "-node-route-controller", "-cloud-node-lifecycle-controller"},
		ExtraArgs: map[string]string{
			"node-monitor-grace-period": h.opts.NodeGrace.String(),
			"node-monitor-period":       min(h.opts.NodeGrace/5, defaultNodeMonitorPeriod).String(),
		},
	})
	if err != nil {
		return nil, err
	}
	return []lifecycle.Component{
		h.etcd,
		h.api,
		lifecycle.New("objects", h.runObjects),
		lifecycle.New("kubelet-api", h.kubelets.run),
		manager,
		lifecycle.New("scheduler", func(ctx context.Context, ready func()) error {
			config, err := h.ConfigFor("system:kube-scheduler")
			if err != nil {
				return err
			}
			config.ContentType = "application/vnd.kubernetes.protobuf"
			return runScheduler(ctx, config, ready)
		}),
		lifecycle.New("kubelets", func(ctx context.Context, ready func()) error {
			config, err := h.ConfigFor("simulated-kubelets", "system:masters")
			if err != nil {
				return err
			}
			config.ContentType = "application/vnd.kubernetes.protobuf"
			return runKubelets(ctx, config, h.opts, ready)
		}),
		lifecycle.New("storage", h.runStorage),
		lifecycle.New("nodes", h.runNodes),
	}, nil
}

// runObjects makes the clients, the namespaces and the nodes.
func (h *Host) runObjects(ctx context.Context, ready func()) error {
	config, err := h.ConfigFor("simulated-host-admin", "system:masters")
	if err != nil {
		return err
	}
	if h.client, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	h.config = config
	h.kubelets.client = h.client
	for _, name := range h.opts.Namespaces {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		_, err := h.client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create namespace %s: %w", name, err)
		}
	}
	for number := 1; number <= h.opts.Nodes; number++ {
		_, err := h.client.CoreV1().Nodes().Create(ctx, node(number, h.opts.PodsPerNode, metav1.Now()), metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create node %s: %w", NodeName(number), err)
		}
	}
	close(h.apiReady)
	ready()
	<-ctx.Done()
	return nil
}

// runNodes is ready when every node takes pods: when it is Ready, and the taint
// that admission puts on new nodes is gone.
func (h *Host) runNodes(ctx context.Context, ready func()) error {
	waiting := map[string]bool{}
	for number := 1; number <= h.opts.Nodes; number++ {
		waiting[NodeName(number)] = true
	}
	nodes := cache.NewListWatchFromClient(h.client.CoreV1().RESTClient(), "nodes", "", fields.Everything())
	_, err := watchtools.UntilWithSync(ctx, nodes, &corev1.Node{}, nil, func(event watch.Event) (bool, error) {
		if node, ok := event.Object.(*corev1.Node); ok && len(node.Spec.Taints) == 0 {
			delete(waiting, node.Name)
		}
		return len(waiting) == 0, nil
	})
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("wait for %v: %w", slices.Sorted(maps.Keys(waiting)), err)
	}
	close(h.ready)
	ready()
	<-ctx.Done()
	return nil
}

// StopNode makes a node die without a word: its heartbeats end, and nobody
// looks after its pods. After NodeGrace the host notices.
func (h *Host) StopNode(ctx context.Context, name string) error {
	return h.labelNode(ctx, name, "null")
}

// StartNode brings the node back. Pods that were deleted meanwhile go.
func (h *Host) StartNode(ctx context.Context, name string) error {
	return h.labelNode(ctx, name, `"true"`)
}

func (h *Host) labelNode(ctx context.Context, name, value string) error {
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%s}}}`, aliveLabel, value)
	_, err := h.client.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("simulated host: node %s: %w", name, err)
	}
	return nil
}
