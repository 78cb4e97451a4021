package controlplane

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"

	"nestling.dev/nestling/pkg/controlplane/nodeinfo"
)

// tellNodes lets requests and TokenReviews with a pod's token know the pod's node. Pods and
// nodes come from the informers that validate the tokens.
func tellNodes(config *app.Config) error {
	control := &config.KubeAPIs.ControlPlane
	client, err := kubernetes.NewForConfig(control.Generic.LoopbackClientConfig)
	if err != nil {
		return err
	}
	informers := control.VersionedInformers.Core().V1()
	pods, nodes := informers.Pods().Lister(), informers.Nodes().Lister()
	source := nodeinfo.Source{
		Pod: func(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
			// A pod that has just been bound may not have its node in the cache yet.
			if pod, err := pods.Pods(namespace).Get(name); err == nil && pod.Spec.NodeName != "" {
				return pod, nil
			}
			return client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		},
		Node: func(_ context.Context, name string) (*corev1.Node, error) { return nodes.Get(name) },
	}
	// The aggregator authenticates requests, and the API server in it TokenReviews.
	for _, authentication := range []*genericapiserver.AuthenticationInfo{&config.Aggregator.GenericConfig.Authentication, &control.Generic.Authentication} {
		authentication.Authenticator = nodeinfo.Wrap(authentication.Authenticator, source)
	}
	return nil
}
