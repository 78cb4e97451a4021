package simhost

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const storagePatience = 30 * time.Second

func claim(name string, change ...func(*corev1.PersistentVolumeClaimSpec)) corev1.PersistentVolumeClaim {
	spec := corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{"storage": resource.MustParse("1Gi")}},
	}
	for _, c := range change {
		c(&spec)
	}
	return corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
}

func (s story) storage(t *testing.T) {
	const space = "storage"
	ctx, claims, volumes := t.Context(), s.client.CoreV1().PersistentVolumeClaims(space), s.client.CoreV1().PersistentVolumes()

	// A StatefulSet's claims wait for its pods, and their volumes stay in the pods' zones.
	_, err := s.client.AppsV1().StatefulSets(space).Create(ctx, &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "db"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: new(int32(2)), ServiceName: "db",
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}}, Template: template("db"),
			VolumeClaimTemplates: []corev1.PersistentVolumeClaim{claim("data")},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	eventually(t, storagePatience, func(ctx context.Context) string {
		set, err := s.client.AppsV1().StatefulSets(space).Get(ctx, "db", metav1.GetOptions{})
		if err != nil || set.Status.ReadyReplicas != 2 {
			return fmt.Sprintf("status %+v, error %v", set.Status, err)
		}
		return ""
	})
	bound, err := claims.Get(ctx, "data-db-1", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, StandardClass, *bound.Spec.StorageClassName)
	require.Equal(t, corev1.ClaimBound, bound.Status.Phase)
	volume, err := volumes.Get(ctx, bound.Spec.VolumeName, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, corev1.VolumeBound, volume.Status.Phase)
	require.Equal(t, corev1.LabelTopologyZone, volume.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0].Key)

	_, err = claims.Patch(ctx, bound.Name, types.MergePatchType, []byte(`{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	eventually(t, storagePatience, func(ctx context.Context) string {
		grown, err := claims.Get(ctx, bound.Name, metav1.GetOptions{})
		if size := grown.Status.Capacity["storage"]; err != nil || size.String() != "2Gi" {
			return fmt.Sprintf("size %s, error %v", size.String(), err)
		}
		return ""
	})

	require.NoError(t, s.client.AppsV1().StatefulSets(space).Delete(ctx, "db", metav1.DeleteOptions{}))
	require.NoError(t, claims.Delete(ctx, bound.Name, metav1.DeleteOptions{}))
	eventually(t, storagePatience, func(ctx context.Context) string {
		if _, err := volumes.Get(ctx, volume.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Sprintf("the volume is still there, error %v", err)
		}
		return ""
	})

	// The other class waits for nobody, and keeps what it has.
	kept := claim("kept", func(spec *corev1.PersistentVolumeClaimSpec) { spec.StorageClassName = new(ImmediateClass) })
	_, err = claims.Create(ctx, &kept, metav1.CreateOptions{})
	require.NoError(t, err)
	phase := func(name string, want corev1.PersistentVolumePhase) {
		t.Helper()
		eventually(t, storagePatience, func(ctx context.Context) string {
			volume, err := volumes.Get(ctx, name, metav1.GetOptions{})
			if err != nil || volume.Status.Phase != want {
				return fmt.Sprintf("phase %s, error %v", volume.Status.Phase, err)
			}
			return ""
		})
	}
	eventually(t, storagePatience, func(ctx context.Context) string {
		found, err := claims.Get(ctx, "kept", metav1.GetOptions{})
		if err != nil || found.Status.Phase != corev1.ClaimBound {
			return fmt.Sprintf("phase %s, error %v", found.Status.Phase, err)
		}
		kept = *found
		return ""
	})
	phase(kept.Spec.VolumeName, corev1.VolumeBound)
	require.NoError(t, claims.Delete(ctx, "kept", metav1.DeleteOptions{}))
	phase(kept.Spec.VolumeName, corev1.VolumeReleased)
}
