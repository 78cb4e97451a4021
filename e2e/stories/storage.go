package stories

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Classes that every host has: the default binds when the first pod has a node, and
// deletes; the other binds at once, and retains.
const (
	standardClass  = "standard"
	immediateClass = "immediate"
)

func storage() []Story {
	return append([]Story{
		{Name: "a StatefulSet's claims bind where its pods go, and keep their data", Run: statefulData},
		{Name: "a claim grows while its pod runs", Run: growingClaim},
		{Name: "a claim gets other attributes while it is bound", Real: true, Run: modifiedClaim},
		{Name: "a claim is a copy of another", Run: clonedClaim},
		{Name: "a snapshot is taken and restored", Real: true, Run: restoredSnapshot},
		{Name: "a generic ephemeral volume lives as long as its pod", Run: ephemeralVolume},
		{Name: "a claim in use goes after its pod, and leaves nothing", Run: deletedClaim},
		{Name: "a retained volume stays in sight when its claim has gone", Run: retainedVolume},
	}, storageView()...)
}

func statefulData(t *testing.T, w *World) {
	ctx, client, space := t.Context(), w.A.Client, namespace(t, w.A, "data")
	_, err := client.AppsV1().StatefulSets(space).Create(ctx, decode[appsv1.StatefulSet](t, w, `
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  persistentVolumeClaimRetentionPolicy: {whenScaled: Delete, whenDeleted: Retain}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: db, image: IMAGE, command: IDLE, volumeMounts: [{name: data, mountPath: /data}]}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 32Mi}}}
`), metav1.CreateOptions{})
	require.NoError(t, err)
	pod := waitPod(t, w.A, space, "db-1", "is ready", isReady)
	claim := waitClaim(t, w.A, space, "data-db-1", corev1.ClaimBound)
	require.Equal(t, standardClass, *claim.Spec.StorageClassName, "the host's default")
	require.Equal(t, pod.Spec.NodeName, claim.Annotations["volume.kubernetes.io/selected-node"], "the host's scheduler has chosen")
	volume := getVolume(t, w.A, claim.Spec.VolumeName)
	require.Equal(t, corev1.VolumeBound, volume.Status.Phase)
	require.NotNil(t, volume.Spec.NodeAffinity)
	if w.Real {
		shell(t, w.A, pod, "", "echo precious > /data/file; sync")
	}
	for range 2 {
		require.NoError(t, client.CoreV1().Pods(space).Delete(ctx, "db-1", metav1.DeleteOptions{}))
		next := waitPod(t, w.A, space, "db-1", "is another", func(found *corev1.Pod) bool { return found.UID != pod.UID && isReady(found) })
		if w.Real {
			require.Equal(t, "precious", shell(t, w.A, next, "", "cat /data/file"))
		}
		pod = next
	}
	again := waitClaim(t, w.A, space, "data-db-1", corev1.ClaimBound)
	require.Equal(t, claim.UID, again.UID)

	// The set gives back what it needs no more.
	_, err = client.AppsV1().StatefulSets(space).UpdateScale(ctx, "db",
		&autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: "db", Namespace: space}, Spec: autoscalingv1.ScaleSpec{Replicas: 1}}, metav1.UpdateOptions{})
	require.NoError(t, err)
	waitNoVolume(t, w, w.A, claim)
}

func growingClaim(t *testing.T, w *World) {
	space := namespace(t, w.A, "growth")
	claim := createClaim(t, w, w.A, space, `
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}}
`)
	require.Equal(t, corev1.ClaimPending, claim.Status.Phase)
	waitEvent(t, w.A, space, "data", "WaitForFirstConsumer", "waiting for first consumer")
	pod := runPod(t, w, w.A, space, podWithClaim("writer", "data"))
	waitClaim(t, w.A, space, "data", corev1.ClaimBound)
	const total = `df -m /data | awk 'NR==2 {print $2}'`
	if w.Real {
		require.Equal(t, "16", shell(t, w.A, pod, "", total))
	}
	begin := time.Now()
	grown, err := w.A.Client.CoreV1().PersistentVolumeClaims(space).Patch(t.Context(), "data", types.StrategicMergePatchType,
		[]byte(`{"spec":{"resources":{"requests":{"storage":"48Mi"}}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	eventually(t, "the larger size", func(ctx context.Context) (bool, string) {
		found, err := w.A.Client.CoreV1().PersistentVolumeClaims(space).Get(ctx, "data", metav1.GetOptions{})
		size := found.Status.Capacity[corev1.ResourceStorage]
		return err == nil && size.String() == "48Mi", asJSON(found.Status) + errText(err)
	})
	if w.Real {
		require.Equal(t, "48", shell(t, w.A, pod, "", total))
	}
	w.Report(fmt.Sprintf("A bound claim had its larger size %.1f s after kubectl patch", time.Since(begin).Seconds()))
	eventually(t, "the volume's size", func(ctx context.Context) (bool, string) {
		size := getVolume(t, w.A, grown.Spec.VolumeName).Spec.Capacity[corev1.ResourceStorage]
		return size.String() == "48Mi", size.String()
	})
	_, err = w.A.Client.CoreV1().PersistentVolumeClaims(space).Patch(t.Context(), "data", types.StrategicMergePatchType,
		[]byte(`{"spec":{"resources":{"requests":{"storage":"1Mi"}}}}`), metav1.PatchOptions{})
	require.True(t, apierrors.IsInvalid(err), "a volume never shrinks: %v", err)
}

func modifiedClaim(t *testing.T, w *World) {
	space := namespace(t, w.A, "attributes")
	createClaim(t, w, w.A, space, `
metadata: {name: data}
spec: {volumeAttributesClassName: silver, storageClassName: immediate, accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}}
`)
	claim := waitClaim(t, w.A, space, "data", corev1.ClaimBound)
	defer forgetVolume(t, w, claim.Spec.VolumeName)
	waitAttributes := func(class string) {
		t.Helper()
		eventually(t, "attributes "+class, func(ctx context.Context) (bool, string) {
			found, err := w.A.Client.CoreV1().PersistentVolumeClaims(space).Get(ctx, "data", metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			current, volume := found.Status.CurrentVolumeAttributesClassName, getVolume(t, w.A, claim.Spec.VolumeName)
			return current != nil && *current == class && volume.Spec.VolumeAttributesClassName != nil && *volume.Spec.VolumeAttributesClassName == class, asJSON(found.Status)
		})
	}
	waitAttributes("silver")
	_, err := w.A.Client.CoreV1().PersistentVolumeClaims(space).Patch(t.Context(), "data", types.StrategicMergePatchType,
		[]byte(`{"spec":{"volumeAttributesClassName":"gold"}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	waitAttributes("gold")
}

func clonedClaim(t *testing.T, w *World) {
	space := namespace(t, w.A, "clone")
	createClaim(t, w, w.A, space, `
metadata: {name: original}
spec: {storageClassName: immediate, accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}}
`)
	original := waitClaim(t, w.A, space, "original", corev1.ClaimBound) // without a pod
	writer := runPod(t, w, w.A, space, podWithClaim("writer", "original"))
	if w.Real {
		shell(t, w.A, writer, "", "echo one > /data/file")
	}
	createClaim(t, w, w.A, space, `
metadata: {name: copy}
spec:
  storageClassName: immediate
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 16Mi}}
  dataSource: {kind: PersistentVolumeClaim, name: original}
`)
	duplicate := waitClaim(t, w.A, space, "copy", corev1.ClaimBound)
	if w.Real {
		shell(t, w.A, writer, "", "echo two > /data/file")
		reader := runPod(t, w, w.A, space, podWithClaim("reader", "copy"))
		require.Equal(t, "one", shell(t, w.A, reader, "", "cat /data/file"))
	}
	for _, claim := range []*corev1.PersistentVolumeClaim{original, duplicate} {
		forgetVolume(t, w, claim.Spec.VolumeName)
	}

	// What cannot be copied is told at once.
	_, err := w.A.Client.CoreV1().PersistentVolumeClaims(space).Create(t.Context(), decode[corev1.PersistentVolumeClaim](t, w, `
metadata: {name: downloaded}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 16Mi}}
  dataSourceRef: {apiGroup: populator.example.org, kind: Download, name: x}
`), metav1.CreateOptions{})
	require.ErrorContains(t, err, "of kind Download; only a PersistentVolumeClaim or a VolumeSnapshot can be copied from")
}

func ephemeralVolume(t *testing.T, w *World) {
	space := namespace(t, w.A, "ephemeral")
	const manifest = `
metadata: {name: NAME}
spec:
  containers: [{name: main, image: IMAGE, command: IDLE, volumeMounts: [{name: scratch, mountPath: /data}]}]
  volumes:
  - name: scratch
    ephemeral:
      volumeClaimTemplate:
        spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}}
`
	pod := runPod(t, w, w.A, space, strings.ReplaceAll(manifest, "NAME", "worker"))
	claim := waitClaim(t, w.A, space, "worker-scratch", corev1.ClaimBound)
	require.True(t, metav1.IsControlledBy(claim, pod))
	if w.Real {
		shell(t, w.A, pod, "", "echo mine > /data/file")
	}
	require.NoError(t, w.A.Client.CoreV1().Pods(space).Delete(t.Context(), "worker", metav1.DeleteOptions{}))
	waitNoVolume(t, w, w.A, claim)

	// A claim that has the name by chance is not for the pod.
	createClaim(t, w, w.A, space, `
metadata: {name: thief-scratch}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}}
`)
	createPod(t, w, w.A, space, strings.ReplaceAll(manifest, "NAME", "thief"))
	waitEvent(t, w.A, space, "thief", "HostSyncWaiting", "was not made for this pod")
}

func deletedClaim(t *testing.T, w *World) {
	client, space := w.A.Client.CoreV1(), namespace(t, w.A, "deleted")
	createClaim(t, w, w.A, space, `
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}}
`)
	pod := runPod(t, w, w.A, space, podWithClaim("user", "data"))
	claim := waitClaim(t, w.A, space, "data", corev1.ClaimBound)
	require.NoError(t, client.PersistentVolumeClaims(space).Delete(t.Context(), "data", metav1.DeleteOptions{}))
	found, err := client.PersistentVolumeClaims(space).Get(t.Context(), "data", metav1.GetOptions{})
	require.NoError(t, err, "a claim in use waits for its pod")
	require.NotNil(t, found.DeletionTimestamp)
	require.Equal(t, corev1.ClaimBound, found.Status.Phase)
	if w.Kubectl != "" {
		require.Regexp(t, `data +Terminating +`+claim.Spec.VolumeName, kubectl(t, w, w.A, space, "get", "pvc"))
	}
	if w.Real {
		shell(t, w.A, pod, "", "echo still here > /data/file")
	}
	require.NoError(t, client.Pods(space).Delete(t.Context(), "user", metav1.DeleteOptions{}))
	waitNoVolume(t, w, w.A, claim)
}

func retainedVolume(t *testing.T, w *World) {
	client, space := w.A.Client.CoreV1(), namespace(t, w.A, "retained")
	createClaim(t, w, w.A, space, `
metadata: {name: data}
spec: {storageClassName: immediate, accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}}
`)
	claim := waitClaim(t, w.A, space, "data", corev1.ClaimBound)
	require.Equal(t, corev1.PersistentVolumeReclaimRetain, getVolume(t, w.A, claim.Spec.VolumeName).Spec.PersistentVolumeReclaimPolicy)
	require.NoError(t, client.PersistentVolumeClaims(space).Delete(t.Context(), "data", metav1.DeleteOptions{}))
	eventually(t, "the volume to be released", func(ctx context.Context) (bool, string) {
		volume, err := client.PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
		return err == nil && volume.Status.Phase == corev1.VolumeReleased && volume.Spec.ClaimRef.Name == "data" && volume.Spec.ClaimRef.Namespace == space,
			errText(err) + asJSON(volume)
	})
	forgetVolume(t, w, claim.Spec.VolumeName)
	eventually(t, "its end, with the host's", func(ctx context.Context) (bool, string) {
		_, err := client.PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
		return apierrors.IsNotFound(err), errText(err)
	})
}

// podWithClaim has a claim at /data.
func podWithClaim(name, claim string) string {
	return fmt.Sprintf(`
metadata: {name: %s}
spec:
  containers: [{name: main, image: IMAGE, command: IDLE, volumeMounts: [{name: data, mountPath: /data}]}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: %s}}]
`, name, claim)
}

func createClaim(t *testing.T, w *World, tenant *Tenant, namespace, manifest string) *corev1.PersistentVolumeClaim {
	t.Helper()
	made, err := tenant.Client.CoreV1().PersistentVolumeClaims(namespace).Create(t.Context(), decode[corev1.PersistentVolumeClaim](t, w, manifest), metav1.CreateOptions{})
	require.NoError(t, err)
	return made
}

// waitClaim waits for a phase, and fails where the claim shows to be lost on the way.
func waitClaim(t *testing.T, tenant *Tenant, namespace, name string, phase corev1.PersistentVolumeClaimPhase) *corev1.PersistentVolumeClaim {
	t.Helper()
	var found *corev1.PersistentVolumeClaim
	eventually(t, fmt.Sprintf("claim %s to be %s", name, phase), func(ctx context.Context) (bool, string) {
		var err error
		if found, err = tenant.Client.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{}); err != nil {
			return false, err.Error()
		}
		require.NotEqual(t, corev1.ClaimLost, found.Status.Phase)
		return found.Status.Phase == phase, asJSON(found)
	})
	return found
}

// getVolume is the mirror of a claim's volume, which comes a moment after the claim shows
// its name.
func getVolume(t *testing.T, tenant *Tenant, name string) *corev1.PersistentVolume {
	t.Helper()
	var found *corev1.PersistentVolume
	eventually(t, "volume "+name, func(ctx context.Context) (bool, string) {
		var err error
		found, err = tenant.Client.CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
		return err == nil && found.Status.Phase != corev1.VolumePending, errText(err)
	})
	return found
}

// waitNoVolume waits until a claim that was deleted has left nothing on either side.
func waitNoVolume(t *testing.T, w *World, tenant *Tenant, claim *corev1.PersistentVolumeClaim) {
	t.Helper()
	eventually(t, "the end of claim "+claim.Name+" and its volume", func(ctx context.Context) (bool, string) {
		_, claimErr := tenant.Client.CoreV1().PersistentVolumeClaims(claim.Namespace).Get(ctx, claim.Name, metav1.GetOptions{})
		_, mirrorErr := tenant.Client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
		_, volumeErr := w.Host.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
		return apierrors.IsNotFound(claimErr) && apierrors.IsNotFound(mirrorErr) && apierrors.IsNotFound(volumeErr),
			fmt.Sprintf("claim: %v, mirror: %v, host's volume: %v", claimErr, mirrorErr, volumeErr)
	})
}

// forgetVolume is what the administrator of a host does with a retained one: it goes for
// good when its claim has.
func forgetVolume(t *testing.T, w *World, name string) {
	t.Helper()
	_, err := w.Host.CoreV1().PersistentVolumes().Patch(t.Context(), name, types.MergePatchType,
		[]byte(`{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`), metav1.PatchOptions{})
	require.NoError(t, err)
}
