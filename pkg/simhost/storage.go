package simhost

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
)

const (
	// StorageDriver is the CSI driver that the host pretends to have. Its volumes hold
	// nothing, since its pods write nothing.
	StorageDriver = "simulated.storage"

	// StandardClass is the default: its volumes come when the first pod that wants them
	// has a node, and stay in that node's zone, as a cloud's disks do.
	StandardClass = "standard"

	// ImmediateClass makes volumes at once, for any node, and keeps them when their claim
	// goes.
	ImmediateClass = "immediate"
)

// Annotations in which binder, scheduler and provisioner talk to each other.
const (
	wantedProvisioner = "volume.kubernetes.io/storage-provisioner"
	selectedNode      = "volume.kubernetes.io/selected-node"
	provisionedBy     = "pv.kubernetes.io/provisioned-by"
)

// storageResync is how often everything is looked at again. Storage needs it for nothing;
// it is there for writes that failed.
const storageResync = time.Minute

// provisioner makes, grows and removes volumes, as a driver's sidecars do beside
// upstream's binder, which runs in the controller manager.
type provisioner struct {
	client  kubernetes.Interface
	claims  cache.SharedIndexInformer
	volumes cache.SharedIndexInformer
	nodes   cache.SharedIndexInformer
	queue   workqueue.TypedRateLimitingInterface[storageKey]
}

// errNoOriginal is what a claim gets that is a copy of nothing, until there is something:
// its author's business, and not worth a line in the log.
var errNoOriginal = errors.New("what the claim is a copy of is not there")

// storageKey is a claim, or a volume, whose namespace is empty.
type storageKey struct{ namespace, name string }

// runStorage makes the classes and provisions until ctx ends.
func (h *Host) runStorage(ctx context.Context, ready func()) error {
	if err := h.makeStorageClasses(ctx); err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(h.client, storageResync)
	defer factory.Shutdown()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := &provisioner{
		client:  h.client,
		claims:  factory.Core().V1().PersistentVolumeClaims().Informer(),
		volumes: factory.Core().V1().PersistentVolumes().Informer(),
		nodes:   factory.Core().V1().Nodes().Informer(),
		queue:   workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[storageKey]()),
	}
	for _, informer := range []cache.SharedIndexInformer{p.claims, p.volumes} {
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    p.enqueue,
			UpdateFunc: func(_, object any) { p.enqueue(object) },
		}); err != nil {
			return fmt.Errorf("watch storage: %w", err)
		}
	}
	factory.Start(ctx.Done())
	for _, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			p.queue.ShutDown()
			return nil
		}
	}
	worked := make(chan struct{})
	go func() {
		defer close(worked)
		for p.next(ctx) {
		}
	}()
	ready()
	<-ctx.Done()
	p.queue.ShutDown()
	<-worked
	return nil
}

func (p *provisioner) enqueue(object any) {
	if object, ok := object.(metav1.Object); ok {
		p.queue.Add(storageKey{object.GetNamespace(), object.GetName()})
	}
}

func (p *provisioner) next(ctx context.Context) bool {
	key, shutdown := p.queue.Get()
	if shutdown {
		return false
	}
	defer p.queue.Done(key)
	err := p.sync(ctx, key)
	if err == nil || ctx.Err() != nil {
		p.queue.Forget(key)
		return true
	}
	if !apierrors.IsConflict(err) && !errors.Is(err, errNoOriginal) {
		klog.FromContext(ctx).Error(err, "Simulated storage will try again", "namespace", key.namespace, "name", key.name)
	}
	p.queue.AddRateLimited(key)
	return true
}

func (p *provisioner) sync(ctx context.Context, key storageKey) error {
	if key.namespace == "" {
		volume, ok := find[corev1.PersistentVolume](p.volumes, key)
		if !ok || volume.Spec.CSI == nil || volume.Spec.CSI.Driver != StorageDriver {
			return nil
		}
		return p.remove(ctx, volume)
	}
	claim, ok := find[corev1.PersistentVolumeClaim](p.claims, key)
	switch {
	case !ok:
		return nil
	case claim.Spec.VolumeName == "" && claim.Annotations[wantedProvisioner] == StorageDriver:
		return p.provision(ctx, claim)
	case claim.Status.Phase == corev1.ClaimBound:
		return p.expand(ctx, claim)
	}
	return nil
}

func find[T any](informer cache.SharedIndexInformer, key storageKey) (*T, bool) {
	name := key.name
	if key.namespace != "" {
		name = key.namespace + "/" + name
	}
	item, ok, err := informer.GetStore().GetByKey(name)
	if err != nil || !ok {
		return nil, false
	}
	return item.(*T), true
}

// provision makes the volume of a claim; the binder binds the two.
func (p *provisioner) provision(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	class, err := p.client.StorageV1().StorageClasses().Get(ctx, *claim.Spec.StorageClassName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("class of claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	if *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer && claim.Annotations[selectedNode] == "" {
		return nil // the scheduler will write it
	}
	if source := claim.Spec.DataSource; source != nil {
		original, ok := find[corev1.PersistentVolumeClaim](p.claims, storageKey{claim.Namespace, source.Name})
		if source.Kind != "PersistentVolumeClaim" || !ok || original.Status.Phase != corev1.ClaimBound {
			return errNoOriginal
		}
	}
	name := "pvc-" + string(claim.UID)
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{provisionedBy: StorageDriver}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			AccessModes:                   claim.Spec.AccessModes,
			VolumeMode:                    claim.Spec.VolumeMode,
			PersistentVolumeReclaimPolicy: *class.ReclaimPolicy,
			StorageClassName:              class.Name,
			MountOptions:                  class.MountOptions,
			ClaimRef:                      &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID},
			NodeAffinity:                  p.zone(claim.Annotations[selectedNode]),
			PersistentVolumeSource:        corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: StorageDriver, VolumeHandle: name}},
		},
	}
	if _, err := p.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("volume of claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	return nil
}

// zone keeps a volume where its first pod is. No node, no zone.
func (p *provisioner) zone(nodeName string) *corev1.VolumeNodeAffinity {
	node, ok := find[corev1.Node](p.nodes, storageKey{name: nodeName})
	if !ok {
		return nil
	}
	return &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{
			Key: corev1.LabelTopologyZone, Operator: corev1.NodeSelectorOpIn, Values: []string{node.Labels[corev1.LabelTopologyZone]},
		}},
	}}}}
}

// expand gives a bound claim the size that it asks for: the volume first, as a driver's
// resizer does, then the claim's status, as kubelet does.
func (p *provisioner) expand(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	volume, ok := find[corev1.PersistentVolume](p.volumes, storageKey{name: claim.Spec.VolumeName})
	want, has := claim.Spec.Resources.Requests[corev1.ResourceStorage], claim.Status.Capacity[corev1.ResourceStorage]
	if !ok || volume.Spec.CSI == nil || volume.Spec.CSI.Driver != StorageDriver || want.Cmp(has) <= 0 {
		return nil
	}
	if size := volume.Spec.Capacity[corev1.ResourceStorage]; want.Cmp(size) > 0 {
		grown := volume.DeepCopy()
		grown.Spec.Capacity = sizeOf(want)
		if _, err := p.client.CoreV1().PersistentVolumes().Update(ctx, grown, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	grown := claim.DeepCopy()
	grown.Status.Capacity, grown.Status.AllocatedResources = sizeOf(want), sizeOf(want)
	_, err := p.client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(ctx, grown, metav1.UpdateOptions{})
	return err
}

func sizeOf(size resource.Quantity) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceStorage: size}
}

// remove ends a volume that its claim has left, if its class says so.
func (p *provisioner) remove(ctx context.Context, volume *corev1.PersistentVolume) error {
	if volume.Status.Phase != corev1.VolumeReleased || volume.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete ||
		volume.DeletionTimestamp != nil {
		return nil
	}
	err := p.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(volume.UID))})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
