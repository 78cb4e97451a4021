package syncer_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"nestling.dev/nestling/syncer"
	"nestling.dev/nestling/syncer/resources"
)

func snapshotResource(plural string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: plural}
}

// serveSnapshots makes the custom resources known to both servers; their real definitions
// are stricter.
func serveSnapshots(t *testing.T, clients ...dynamic.Interface) {
	t.Helper()
	kinds := map[string]string{"volumesnapshots": "VolumeSnapshot", "volumesnapshotcontents": "VolumeSnapshotContent", "volumesnapshotclasses": "VolumeSnapshotClass"}
	for _, kind := range resources.SnapshotResources() {
		scope := "Cluster"
		if kind.Resource == "volumesnapshots" {
			scope = "Namespaced"
		}
		definition := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
			"metadata": map[string]any{
				"name":        kind.GroupResource().String(),
				"annotations": map[string]any{"api-approved.kubernetes.io": "unapproved, for a test"},
			},
			"spec": map[string]any{
				"group": kind.Group, "scope": scope,
				"names": map[string]any{"plural": kind.Resource, "kind": kinds[kind.Resource]},
				"versions": []any{map[string]any{
					"name": kind.Version, "served": true, "storage": true, "subresources": map[string]any{"status": map[string]any{}},
					"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
				}},
			},
		}}
		for _, client := range clients {
			_, err := client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}).
				Create(t.Context(), definition.DeepCopy(), metav1.CreateOptions{})
			require.NoError(t, err)
		}
	}
	for _, client := range clients {
		tenant{T: t}.eventually("snapshots are served", func() (string, error) {
			for _, kind := range resources.SnapshotResources() {
				if _, err := client.Resource(kind).List(t.Context(), metav1.ListOptions{}); err != nil {
					return "", err
				}
			}
			return "", nil
		})
	}
}

func text(object *unstructured.Unstructured, path ...string) string {
	out, _, _ := unstructured.NestedString(object.Object, path...)
	return out
}

func TestSnapshotsAreTakenByTheHost(t *testing.T) {
	virtual, err := dynamic.NewForConfig(virtualServer.Config)
	require.NoError(t, err)
	host, err := dynamic.NewForConfig(hostServer.Config)
	require.NoError(t, err)
	serveSnapshots(t, virtual, host)
	x := newStorage(t, "snapshots", func(options *syncer.Options) { options.Kinds.Snapshots = true })
	x.waitClass()
	_, err = x.virtual.CoreV1().PersistentVolumeClaims(x.name).Create(t.Context(), claimOf("data", x.class, "1Gi"), metav1.CreateOptions{})
	require.NoError(t, err)
	snapshots, hostSnapshots := virtual.Resource(snapshotResource("volumesnapshots")).Namespace(x.name), host.Resource(snapshotResource("volumesnapshots")).Namespace(x.name)
	_, err = snapshots.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": map[string]any{"name": "monday"},
		"spec": map[string]any{"source": map[string]any{"persistentVolumeClaimName": "data"}},
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
	var hostSnapshot *unstructured.Unstructured
	x.eventually("the snapshot is on the host", func() (complaint string, err error) {
		if hostSnapshot, err = hostSnapshots.Get(t.Context(), x.hostName("monday"), metav1.GetOptions{}); err != nil {
			return "", err
		}
		return cmp.Diff(x.hostName("data"), text(hostSnapshot, "spec", "source", "persistentVolumeClaimName")), nil
	})

	// The host's controller takes it, and somebody else has one, too.
	content := func(name, snapshot, uid string) {
		_, err := host.Resource(snapshotResource("volumesnapshotcontents")).Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent", "metadata": map[string]any{
				"name": name, "annotations": map[string]any{"snapshot.storage.kubernetes.io/deletion-secret-name": "admin"},
			},
			"spec": map[string]any{
				"driver": "csi.example.org", "deletionPolicy": "Delete", "source": map[string]any{"volumeHandle": "x"},
				"volumeSnapshotRef": map[string]any{"namespace": x.name, "name": snapshot, "uid": uid},
			},
		}}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	content("content-of-a-stranger", "stranger", "stranger")
	content("content-of-ours", hostSnapshot.GetName(), string(hostSnapshot.GetUID()))
	require.NoError(t, unstructured.SetNestedField(hostSnapshot.Object, "fast", "spec", "volumeSnapshotClassName"))
	updated, err := hostSnapshots.Update(t.Context(), hostSnapshot, metav1.UpdateOptions{})
	require.NoError(t, err)
	updated.Object["status"] = map[string]any{"readyToUse": true, "boundVolumeSnapshotContentName": "content-of-ours", "restoreSize": "1Gi"}
	_, err = hostSnapshots.UpdateStatus(t.Context(), updated, metav1.UpdateOptions{})
	require.NoError(t, err)
	var taken *unstructured.Unstructured
	x.eventually("it is taken", func() (complaint string, err error) {
		if taken, err = snapshots.Get(t.Context(), "monday", metav1.GetOptions{}); err != nil {
			return "", err
		}
		return cmp.Diff([]string{"fast", "content-of-ours", "1Gi"}, []string{
			text(taken, "spec", "volumeSnapshotClassName"), text(taken, "status", "boundVolumeSnapshotContentName"), text(taken, "status", "restoreSize"),
		}), nil
	})
	contents := virtual.Resource(snapshotResource("volumesnapshotcontents"))
	x.eventually("its content shows", func() (string, error) {
		found, err := contents.Get(t.Context(), "content-of-ours", metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		return cmp.Diff([]string{x.name, "monday", string(taken.GetUID())}, []string{
			text(found, "spec", "volumeSnapshotRef", "namespace"), text(found, "spec", "volumeSnapshotRef", "name"), text(found, "spec", "volumeSnapshotRef", "uid"),
		}) + cmp.Diff(1, len(found.GetAnnotations())), nil
	})
	list, err := contents.List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, list.Items, 1, "a stranger's is not seen")

	// A claim restores it.
	restored := claimOf("restored", x.class, "1Gi")
	restored.Spec.DataSource = &corev1.TypedLocalObjectReference{APIGroup: new("snapshot.storage.k8s.io"), Kind: "VolumeSnapshot", Name: "monday"}
	_, err = x.virtual.CoreV1().PersistentVolumeClaims(x.name).Create(t.Context(), restored, metav1.CreateOptions{})
	require.NoError(t, err)
	x.hostClaim("restored", func(claim *corev1.PersistentVolumeClaim) string {
		return cmp.Diff(x.hostName("monday"), claim.Spec.DataSource.Name) + cmp.Diff(x.hostName("monday"), claim.Spec.DataSourceRef.Name)
	})

	require.NoError(t, snapshots.Delete(t.Context(), "monday", metav1.DeleteOptions{}))
	x.eventually("the host's goes", func() (string, error) {
		_, err := hostSnapshots.Get(t.Context(), x.hostName("monday"), metav1.GetOptions{})
		return gone(err)
	})
	require.NoError(t, host.Resource(snapshotResource("volumesnapshotcontents")).Delete(t.Context(), "content-of-ours", metav1.DeleteOptions{}))
	x.eventually("and its content", func() (string, error) {
		_, err := contents.Get(t.Context(), "content-of-ours", metav1.GetOptions{})
		return gone(err)
	})
}
