package server

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"nestling.dev/nestling/syncer/engine"
	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
)

// servedPatience is how long a definition may take from its creation until the tenant's
// API serves it; it takes tenths of a second.
const servedPatience = 15 * time.Second

func definitions() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
}

// serveSnapshots gives the tenant the definitions of volume snapshots where the host has
// them and lets us read them. Otherwise the tenant does without: options say so.
func (s *server) serveSnapshots(ctx context.Context, virtual *rest.Config, options *resources.Options) error {
	kinds := resources.SnapshotResources()
	leaveOut := func(reason string) {
		klog.FromContext(ctx).Info("Volume snapshots are left out", "reason", reason)
		options.Snapshots = false
	}
	for _, kind := range kinds {
		if options.Unreadable[kind.GroupResource().String()] {
			leaveOut("the host does not serve them, or does not let us read them")
			return nil
		}
	}
	hostClient, err := dynamic.NewForConfig(s.hostConfig)
	if err != nil {
		return fmt.Errorf("host client of definitions: %w", err)
	}
	virtualClient, err := dynamic.NewForConfig(virtual)
	if err != nil {
		return fmt.Errorf("virtual client of definitions: %w", err)
	}
	for _, kind := range kinds {
		err := copyDefinition(ctx, hostClient, virtualClient, kind.GroupResource().String())
		if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
			leaveOut("the host does not let us read their definitions")
			return nil
		}
		if err != nil {
			return fmt.Errorf("definition of %s: %w", kind.Resource, err)
		}
	}
	for _, kind := range kinds {
		if err := awaitServed(ctx, virtualClient, kind); err != nil {
			return fmt.Errorf("serve %s in the tenant: %w", kind.Resource, err)
		}
	}
	return nil
}

// copyDefinition makes the tenant's definition the host's. One that the tenant brought
// itself is left alone.
func copyDefinition(ctx context.Context, host, virtual dynamic.Interface, name string) error {
	original, err := host.Resource(definitions()).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	want := definitionCopy(original)
	created := metav1.CreateOptions{FieldManager: engine.FieldManager}
	_, err = virtual.Resource(definitions()).Create(ctx, want, created)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	live, err := virtual.Resource(definitions()).Get(ctx, name, metav1.GetOptions{})
	if err != nil || live.GetAnnotations()[resource.AnnotationMirror] == "" || equality.Semantic.DeepEqual(live.Object["spec"], want.Object["spec"]) {
		return err
	}
	live.Object["spec"] = want.Object["spec"]
	_, err = virtual.Resource(definitions()).Update(ctx, live, metav1.UpdateOptions{FieldManager: engine.FieldManager})
	return err
}

// approved is what the API server wants to see on definitions of Kubernetes' own groups.
const approved = "api-approved.kubernetes.io"

// definitionCopy is a host definition as it can be created elsewhere: without a conversion
// webhook, which is the host's. There is one version to serve.
func definitionCopy(host *unstructured.Unstructured) *unstructured.Unstructured {
	out := &unstructured.Unstructured{Object: map[string]any{}}
	out.SetAPIVersion(host.GetAPIVersion())
	out.SetKind(host.GetKind())
	out.SetName(host.GetName())
	out.SetAnnotations(map[string]string{resource.AnnotationMirror: "true"})
	if value, ok := host.GetAnnotations()[approved]; ok {
		out.SetAnnotations(map[string]string{resource.AnnotationMirror: "true", approved: value})
	}
	spec, _, _ := unstructured.NestedMap(host.Object, "spec") // copies
	spec["conversion"] = map[string]any{"strategy": "None"}
	out.Object["spec"] = spec
	return out
}

func awaitServed(ctx context.Context, virtual dynamic.Interface, kind schema.GroupVersionResource) error {
	return wait.PollUntilContextTimeout(ctx, 25*time.Millisecond, servedPatience, true, func(ctx context.Context) (bool, error) {
		_, err := virtual.Resource(kind).List(ctx, metav1.ListOptions{Limit: 1})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
}
