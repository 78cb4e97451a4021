package sandbox

import (
	"context"
	"fmt"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/deploy"
)

// apply puts the objects on the host, as `kubectl apply --server-side` would,
// but for the StatefulSet: its pod is our child process.
func apply(ctx context.Context, host *rest.Config, objects []deploy.Object) error {
	hostClient, err := dynamic.NewForConfig(host)
	if err != nil {
		return err
	}
	for _, object := range objects {
		kind := object.GetObjectKind().GroupVersionKind()
		if kind.Kind == "StatefulSet" {
			continue
		}
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		if err != nil {
			return fmt.Errorf("%s %s: %w", kind.Kind, object.GetName(), err)
		}
		resource, _ := meta.UnsafeGuessKindToResource(kind)
		var hostObjects dynamic.ResourceInterface = hostClient.Resource(resource).Namespace(object.GetNamespace())
		if object.GetNamespace() == "" {
			hostObjects = hostClient.Resource(resource)
		}
		_, err = hostObjects.Apply(ctx, object.GetName(), &unstructured.Unstructured{Object: content},
			metav1.ApplyOptions{FieldManager: "nestling-sandbox", Force: true})
		if err != nil {
			return fmt.Errorf("apply %s %s: %w", strings.ToLower(kind.Kind), object.GetName(), err)
		}
	}
	return nil
}

// serviceAccountConfig connects to the host as a ServiceAccount, with a token
// that outlives any sandbox.
func serviceAccountConfig(ctx context.Context, host *rest.Config, namespace, name string) (*rest.Config, error) {
	hostClient, err := kubernetes.NewForConfig(host)
	if err != nil {
		return nil, err
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: new(int64(30 * 24 * time.Hour / time.Second)),
	}}
	token, err := hostClient.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("token of ServiceAccount %s/%s: %w", namespace, name, err)
	}
	config := rest.AnonymousClientConfig(host)
	config.BearerToken = token.Status.Token
	return config, nil
}
