package rest

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
)

// serveSnapshots gives the host the definitions of snapshots, which the real ones are
// stricter than. A tenant looks for them when it starts.
func (w *world) serveSnapshots(t *testing.T) {
	t.Helper()
	definitions := w.host.objects.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	for _, kind := range snapshotKinds() {
		scope := "Cluster"
		if kind.Namespaced {
			scope = "Namespaced"
		}
		_, err := definitions.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
			"metadata": map[string]any{
				"name":        kind.Resource.GroupResource().String(),
				"annotations": map[string]any{"api-approved.kubernetes.io": "unapproved, for a test"},
			},
			"spec": map[string]any{
				"group": kind.Resource.Group, "scope": scope,
				"names": map[string]any{"plural": kind.Resource.Resource, "kind": kind.Name},
				"versions": []any{map[string]any{
					"name": kind.Resource.Version, "served": true, "storage": true, "subresources": map[string]any{"status": map[string]any{}},
					"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
				}},
			},
		}}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	w.eventually(t, "the host to serve snapshots", func(ctx context.Context) string {
		for _, kind := range snapshotKinds() {
			if _, err := w.host.objects.Resource(kind.Resource).List(ctx, metav1.ListOptions{}); err != nil {
				return err.Error()
			}
		}
		return ""
	})
}

func snapshotKinds() []resource.Kind {
	var out []resource.Kind
	for _, kind := range kinds() {
		if kind.Resource.Group == resources.SnapshotResources()[0].Group {
			out = append(out, kind)
		}
	}
	return out
}

// takeSnapshots plays the host's snapshot controller: each snapshot gets its content.
func (w *world) takeSnapshots(t *testing.T, objects int) {
	t.Helper()
	byPlural := map[string]schema.GroupVersionResource{}
	for _, kind := range resources.SnapshotResources() {
		byPlural[kind.Resource] = kind
	}
	snapshots := w.host.objects.Resource(byPlural["volumesnapshots"]).Namespace(hostNamespace)
	var list *unstructured.UnstructuredList
	w.eventually(t, "the snapshots on the host", func(ctx context.Context) string {
		var err error
		if list, err = snapshots.List(ctx, metav1.ListOptions{}); err != nil {
			return err.Error()
		}
		if len(list.Items) < objects {
			return fmt.Sprint(len(list.Items))
		}
		return ""
	})
	for i := range list.Items {
		snapshot := &list.Items[i]
		content := fmt.Sprintf("calm-%03d", i)
		_, err := w.host.objects.Resource(byPlural["volumesnapshotcontents"]).Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": snapshot.GetAPIVersion(), "kind": "VolumeSnapshotContent", "metadata": map[string]any{"name": content},
			"spec": map[string]any{
				"driver": "d.example", "deletionPolicy": "Delete", "source": map[string]any{"volumeHandle": content},
				"volumeSnapshotRef": map[string]any{"namespace": hostNamespace, "name": snapshot.GetName(), "uid": string(snapshot.GetUID())},
			},
		}}, metav1.CreateOptions{})
		require.NoError(t, err)
		snapshot.Object["status"] = map[string]any{"readyToUse": true, "boundVolumeSnapshotContentName": content, "restoreSize": "1Mi"}
		_, err = snapshots.UpdateStatus(t.Context(), snapshot, metav1.UpdateOptions{})
		require.NoError(t, err)
	}
}
