// Package evictions ends the pods that a tenant's own taints of its nodes do not tolerate: the
// NoExecute taints that its host nodes do not have. The host's are the host's business, which
// ends host pods by them, and may have reasons of its own to let some stay (tolerations that
// its webhooks or the tenant's operator add).
//
// The controller is upstream's (k8s.io/kubernetes/pkg/controller/tainteviction), which sees
// nothing of nodes but those taints.
package evictions

import (
	"context"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/pkg/controller"
	"k8s.io/kubernetes/pkg/controller/tainteviction"

	"nestling.dev/nestling/syncer/nodefacts"
)

// name is that of the controller, in events and metrics.
const name = "taint-eviction-controller"

// Run works until ctx ends, and everything that it has begun.
func Run(ctx context.Context, config *rest.Config) error {
	config = rest.CopyConfig(config)
	config.QPS = -1 // the server, of the same process, sees to fairness
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	nodes, pods := factory.Core().V1().Nodes(), factory.Core().V1().Pods()
	if err := nodes.Informer().SetTransform(trimNode); err != nil {
		return err
	}
	if err := pods.Informer().SetTransform(trimPod); err != nil {
		return err
	}
	if err := controller.AddPodNodeNameIndexer(pods.Informer()); err != nil { // by which it finds the pods of a node
		return err
	}
	evictions, err := tainteviction.New(ctx, client, pods, nodes, name)
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	defer all.Wait()
	defer factory.Shutdown()
	all.Go(func() { evictions.Run(ctx) })
	factory.StartWithContext(ctx)
	<-ctx.Done()
	return nil
}

// trimNode keeps a node's name and the tenant's own taints that end pods.
func trimNode(in any) (any, error) {
	node, ok := in.(*corev1.Node)
	if !ok {
		return in, nil
	}
	_, taints := nodefacts.Own(node)
	taints = slices.DeleteFunc(taints, func(taint corev1.Taint) bool { return taint.Effect != corev1.TaintEffectNoExecute })
	return &corev1.Node{ObjectMeta: identity(node.ObjectMeta), Spec: corev1.NodeSpec{Taints: taints}}, nil
}

// trimPod keeps what says where a pod is, and what it tolerates.
func trimPod(in any) (any, error) {
	pod, ok := in.(*corev1.Pod)
	if !ok {
		return in, nil
	}
	return &corev1.Pod{
		ObjectMeta: identity(pod.ObjectMeta),
		Spec:       corev1.PodSpec{NodeName: pod.Spec.NodeName, Tolerations: pod.Spec.Tolerations},
	}, nil
}

func identity(full metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: full.Name, Namespace: full.Namespace, UID: full.UID, ResourceVersion: full.ResourceVersion, DeletionTimestamp: full.DeletionTimestamp,
	}
}
