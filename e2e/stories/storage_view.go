package stories

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

func storageView() []Story {
	return []Story{
		{Name: "what a tenant sees of storage is the host's, without its Secrets and names", Run: storageSeen},
		{Name: "a tenant never sees the volumes of another", Run: volumesApart},
		{Name: "a tenant that may read no volumes sees what its claims tell of theirs", Run: unreadVolumes},
	}
}

func snapshotResource(plural string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: plural}
}

func restoredSnapshot(t *testing.T, w *World) {
	space := namespace(t, w.A, "snapshot")
	client, err := dynamic.NewForConfig(w.A.Config)
	require.NoError(t, err)
	createClaim(t, w, w.A, space, `
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}}
`)
	writer := runPod(t, w, w.A, space, podWithClaim("writer", "data"))
	shell(t, w.A, writer, "", "echo before > /data/file")
	snapshots := client.Resource(snapshotResource("volumesnapshots")).Namespace(space)
	_, err = snapshots.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": map[string]any{"name": "monday"},
		"spec": map[string]any{"source": map[string]any{"persistentVolumeClaimName": "data"}},
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
	var taken *unstructured.Unstructured
	eventually(t, "the snapshot", func(ctx context.Context) (bool, string) {
		if taken, err = snapshots.Get(ctx, "monday", metav1.GetOptions{}); err != nil {
			return false, err.Error()
		}
		ready, _, _ := unstructured.NestedBool(taken.Object, "status", "readyToUse")
		return ready, asJSON(taken.Object)
	})
	class, _, _ := unstructured.NestedString(taken.Object, "spec", "volumeSnapshotClassName")
	require.Equal(t, standardClass, class, "the host's default")
	contentName, _, _ := unstructured.NestedString(taken.Object, "status", "boundVolumeSnapshotContentName")
	var content *unstructured.Unstructured
	eventually(t, "its content", func(ctx context.Context) (bool, string) {
		content, err = client.Resource(snapshotResource("volumesnapshotcontents")).Get(ctx, contentName, metav1.GetOptions{})
		return err == nil, errText(err)
	})
	of, _, _ := unstructured.NestedString(content.Object, "spec", "volumeSnapshotRef", "namespace")
	require.Equal(t, space, of)
	requireNoHostStorage(t, w, asJSON(content.Object)+asJSON(taken.Object))

	shell(t, w.A, writer, "", "echo after > /data/file")
	createClaim(t, w, w.A, space, `
metadata: {name: restored}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 16Mi}}
  dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: monday}
`)
	reader := runPod(t, w, w.A, space, podWithClaim("reader", "restored"))
	require.Equal(t, "before", shell(t, w.A, reader, "", "cat /data/file"))

	require.NoError(t, snapshots.Delete(t.Context(), "monday", metav1.DeleteOptions{}))
	host, err := dynamic.NewForConfig(w.HostConfig)
	require.NoError(t, err)
	eventually(t, "the end of the snapshot on both sides", func(ctx context.Context) (bool, string) {
		_, mirrorErr := client.Resource(snapshotResource("volumesnapshotcontents")).Get(ctx, contentName, metav1.GetOptions{})
		_, contentErr := host.Resource(snapshotResource("volumesnapshotcontents")).Get(ctx, contentName, metav1.GetOptions{})
		return mirrorErr != nil && contentErr != nil, fmt.Sprintf("mirror: %v, host's: %v", mirrorErr, contentErr)
	})
}

func storageSeen(t *testing.T, w *World) {
	space := namespace(t, w.A, "seen")
	createClaim(t, w, w.A, space, `
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}}
`)
	runPod(t, w, w.A, space, podWithClaim("user", "data"))
	claim := waitClaim(t, w.A, space, "data", corev1.ClaimBound)
	volume := getVolume(t, w.A, claim.Spec.VolumeName)
	hostVolume, err := w.Host.CoreV1().PersistentVolumes().Get(t.Context(), volume.Name, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, hostVolume.Spec.CSI.VolumeHandle, volume.Spec.CSI.VolumeHandle)
	require.Equal(t, hostVolume.Spec.NodeAffinity, volume.Spec.NodeAffinity)
	if w.Real { // so that the next lines show something
		require.NotNil(t, hostVolume.Spec.CSI.NodePublishSecretRef)
		require.Equal(t, space, volume.Spec.CSI.VolumeAttributes["csi.storage.k8s.io/pvc/namespace"])
	}
	requireNoHostStorage(t, w, asJSON(volume)+asJSON(claim))

	same := func(what string, host, virtual func() []string) {
		t.Helper()
		eventually(t, "the host's "+what, func(context.Context) (bool, string) {
			want, got := host(), virtual()
			return strings.Join(want, " ") == strings.Join(got, " "), fmt.Sprintf("host %v, tenant %v", want, got)
		})
	}
	same("storage classes", func() []string { return storageClasses(t, w, &Tenant{Client: w.Host}) }, func() []string { return storageClasses(t, w, w.A) })
	same("drivers", func() []string { return csiDrivers(t, &Tenant{Client: w.Host}) }, func() []string { return csiDrivers(t, w.A) })
	same("drivers of nodes", func() []string { return csiNodes(t, &Tenant{Client: w.Host}) }, func() []string { return csiNodes(t, w.A) })
	if w.Kubectl == "" {
		return
	}
	require.Regexp(t, `data +Bound +`+volume.Name+` +16Mi +RWO +standard`, kubectl(t, w, w.A, space, "get", "pvc"))
	require.Regexp(t, volume.Name+` +16Mi +RWO +Delete +Bound +`+space+`/data +standard`, kubectl(t, w, w.A, space, "get", "pv"))
	classes := kubectl(t, w, w.A, space, "get", "sc")
	require.Regexp(t, `standard \(default\) +\S+ +Delete +WaitForFirstConsumer +true`, classes)
	require.Regexp(t, `immediate +\S+ +Retain +Immediate +true`, classes)
	require.Regexp(t, `Used By: +user`, kubectl(t, w, w.A, space, "describe", "pvc", "data"))
}

// requireNoHostStorage fails where text has what no tenant may know of the host's storage.
func requireNoHostStorage(t *testing.T, w *World, text string) {
	t.Helper()
	require.NotContains(t, strings.ToLower(text), "storage-admin", "the storage system's Secret")
	require.NotRegexp(t, `[sS]ecretRef`, text)
	require.NotRegexp(t, `"`+w.HostNamespace+`["/]`, text, "the host's namespace")
	for _, tenant := range []*Tenant{w.A, w.B, w.Namespaced} {
		if tenant != nil {
			require.NotRegexp(t, tenant.Name+`-[-a-z0-9]+-[0-9a-v]{16}`, text, "a host name")
		}
	}
}

func storageClasses(t *testing.T, w *World, tenant *Tenant) []string {
	t.Helper()
	list, err := tenant.Client.StorageV1().StorageClasses().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	var out []string
	for _, class := range list.Items {
		if tenant.Name != "" {
			requireNoHostStorage(t, w, asJSON(class.Parameters)+asJSON(class.Annotations))
		}
		out = append(out, fmt.Sprint(class.Name, class.Provisioner, *class.ReclaimPolicy, *class.VolumeBindingMode,
			class.Annotations["storageclass.kubernetes.io/is-default-class"], asJSON(class.AllowedTopologies)))
	}
	return out
}

func csiDrivers(t *testing.T, tenant *Tenant) []string {
	t.Helper()
	list, err := tenant.Client.StorageV1().CSIDrivers().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	var out []string
	for _, driver := range list.Items {
		out = append(out, driver.Name+asJSON(driver.Spec))
	}
	return out
}

func csiNodes(t *testing.T, tenant *Tenant) []string {
	t.Helper()
	list, err := tenant.Client.StorageV1().CSINodes().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	var out []string
	for _, node := range list.Items {
		out = append(out, node.Name+asJSON(node.Spec))
	}
	return out
}

func volumesApart(t *testing.T, w *World) {
	var claims []*corev1.PersistentVolumeClaim
	for _, tenant := range []*Tenant{w.A, w.B} {
		space := namespace(t, tenant, "apart")
		createClaim(t, w, tenant, space, `
metadata: {name: data}
spec: {storageClassName: immediate, accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}}
`)
		claims = append(claims, waitClaim(t, tenant, space, "data", corev1.ClaimBound))
		getVolume(t, tenant, claims[len(claims)-1].Spec.VolumeName)
	}
	for i, tenant := range []*Tenant{w.A, w.B} {
		list, err := tenant.Client.CoreV1().PersistentVolumes().List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		for _, volume := range list.Items {
			require.NotEqual(t, claims[1-i].Spec.VolumeName, volume.Name)
		}
		forgetVolume(t, w, claims[i].Spec.VolumeName)
	}
}

// unreadVolumes has a tenant without rights outside its host namespace: it knows no
// classes, and the host chooses.
func unreadVolumes(t *testing.T, w *World) {
	tenant := w.Namespaced
	if tenant == nil {
		t.Skip("this world has no tenant without a ClusterRole")
	}
	space := namespace(t, tenant, "unread")
	require.Nil(t, createClaim(t, w, tenant, space, `
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}}
`).Spec.StorageClassName)
	pod := runPod(t, w, tenant, space, podWithClaim("user", "data"))
	claim := waitClaim(t, tenant, space, "data", corev1.ClaimBound)
	require.Equal(t, standardClass, *claim.Spec.StorageClassName)
	volume, host := getVolume(t, tenant, claim.Spec.VolumeName), getVolume(t, &Tenant{Client: w.Host}, claim.Spec.VolumeName)
	require.Equal(t, host.Spec.Capacity, volume.Spec.Capacity)
	require.Equal(t, host.Spec.CSI.Driver, volume.Spec.CSI.Driver)
	require.Equal(t, space+"/data", volume.Spec.ClaimRef.Namespace+"/"+volume.Spec.ClaimRef.Name)
	requireNoHostStorage(t, w, asJSON(volume)+asJSON(claim))
	classes, err := tenant.Client.StorageV1().StorageClasses().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Empty(t, classes.Items)
	if w.Real {
		require.Equal(t, "here", shell(t, tenant, pod, "", "echo here > /data/file; cat /data/file"))
	}
	require.NoError(t, tenant.Client.CoreV1().Pods(space).Delete(t.Context(), "user", metav1.DeleteOptions{}))
	require.NoError(t, tenant.Client.CoreV1().PersistentVolumeClaims(space).Delete(t.Context(), "data", metav1.DeleteOptions{}))
	waitNoVolume(t, w, tenant, claim)
}
