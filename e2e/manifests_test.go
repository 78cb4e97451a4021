package e2e

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/deploy"
)

// applyManifests is `nestling manifests NAME | kubectl apply -f -` but for the
// StatefulSet, whose pod would have no image on a simulated host.
func applyManifests(ctx context.Context, host *rest.Config, tenant string) error {
	return eachManifest(host, tenant, func(client dynamic.ResourceInterface, object deploy.Object) error {
		if object.GetObjectKind().GroupVersionKind().Kind == "StatefulSet" {
			return nil
		}
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		if err == nil {
			_, err = client.Apply(ctx, object.GetName(), &unstructured.Unstructured{Object: content}, metav1.ApplyOptions{FieldManager: "e2e"})
		}
		return err
	})
}

// deleteManifests is `nestling manifests NAME | kubectl delete --wait=false -f -`.
func deleteManifests(ctx context.Context, host *rest.Config, tenant string) error {
	return eachManifest(host, tenant, func(client dynamic.ResourceInterface, object deploy.Object) error {
		err := client.Delete(ctx, object.GetName(), metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}

func eachManifest(host *rest.Config, tenant string, do func(dynamic.ResourceInterface, deploy.Object) error) error {
	options := deploy.Default()
	options.Tenant, options.Namespace, options.Ephemeral = tenant, hostNamespace, true
	objects, err := deploy.Objects(options)
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(host)
	if err != nil {
		return err
	}
	for _, object := range objects {
		resource, _ := meta.UnsafeGuessKindToResource(object.GetObjectKind().GroupVersionKind())
		var where dynamic.ResourceInterface = client.Resource(resource)
		if object.GetNamespace() != "" {
			where = client.Resource(resource).Namespace(object.GetNamespace())
		}
		if err := do(where, object); err != nil {
			return fmt.Errorf("%s %s: %w", resource.Resource, object.GetName(), err)
		}
	}
	return nil
}
