package simhost

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// makeStorageClasses makes what a cluster with a storage driver has of it.
func (h *Host) makeStorageClasses(ctx context.Context) error {
	storage := h.client.StorageV1()
	driver := &storagev1.CSIDriver{
		ObjectMeta: metav1.ObjectMeta{Name: StorageDriver},
		Spec:       storagev1.CSIDriverSpec{AttachRequired: new(false), VolumeLifecycleModes: []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent}},
	}
	if _, err := storage.CSIDrivers().Create(ctx, driver, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create CSIDriver %s: %w", driver.Name, err)
	}
	nodes, err := h.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	for i := range nodes.Items {
		csiNode := csiNode(&nodes.Items[i])
		if _, err := storage.CSINodes().Create(ctx, csiNode, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create CSINode %s: %w", csiNode.Name, err)
		}
	}
	for _, class := range storageClasses() {
		if _, err := storage.StorageClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create StorageClass %s: %w", class.Name, err)
		}
	}
	return nil
}

// csiNode is what a kubelet writes down when a driver has registered with it.
func csiNode(node *corev1.Node) *storagev1.CSINode {
	return &storagev1.CSINode{
		ObjectMeta: metav1.ObjectMeta{
			Name:            node.Name,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}},
		},
		Spec: storagev1.CSINodeSpec{Drivers: []storagev1.CSINodeDriver{{
			Name: StorageDriver, NodeID: node.Name, TopologyKeys: []string{corev1.LabelTopologyZone},
		}}},
	}
}

func storageClasses() []*storagev1.StorageClass {
	class := func(name string, binding storagev1.VolumeBindingMode, reclaim corev1.PersistentVolumeReclaimPolicy) *storagev1.StorageClass {
		return &storagev1.StorageClass{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: StorageDriver,
			VolumeBindingMode: &binding, ReclaimPolicy: &reclaim, AllowVolumeExpansion: new(true),
		}
	}
	standard := class(StandardClass, storagev1.VolumeBindingWaitForFirstConsumer, corev1.PersistentVolumeReclaimDelete)
	standard.Annotations = map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}
	return []*storagev1.StorageClass{standard, class(ImmediateClass, storagev1.VolumeBindingImmediate, corev1.PersistentVolumeReclaimRetain)}
}
