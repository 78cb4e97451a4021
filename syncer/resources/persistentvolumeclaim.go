package resources

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
)

// snapshotGroup is the API group of volume snapshots.
const snapshotGroup = "snapshot.storage.k8s.io"

// PersistentVolumeClaims all go to the host: they hold data, which waits for its next pod.
// The host binds them to its volumes; with retain, they stay when the tenant is deleted.
//
// A claim that somebody deletes on the host is made again with the volume that it had
// (spec.volumeName), and waits for it: an empty volume in the place of data would be worse
// than none.
func PersistentVolumeClaims(retain bool) resource.Kind {
	return resource.Spec[*corev1.PersistentVolumeClaim]{
		Resource:   corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims"),
		Kind:       "PersistentVolumeClaim",
		Namespaced: true,
		Direction:  resource.ToHost,
		Outlives:   retain,
		About: resource.About{
			Virtual: "spec: size, class, access modes, data source",
			Host:    "status; `volumeName`, a class by default, annotations of the volume controllers",
			Default: "all; deleted with the tenant, or kept by `sync.persistentVolumeClaims.onTenantDelete: Retain`",
		},
		New:     func() *corev1.PersistentVolumeClaim { return &corev1.PersistentVolumeClaim{} },
		Reasons: volumeClaimReasons(),
		Pending: volumeClaimPending,
		Refs:    volumeClaimRefs,
		Wait:    volumeClaimWait,
		ToHost:  volumeClaimToHost,
		MergeHost: func(env resource.Env, desired, live *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaim {
			out := mergeHostVolumeClaim(desired, live)
			if retain { // it may have been made when it was not to be kept
				out.OwnerReferences = slices.DeleteFunc(slices.Clone(live.OwnerReferences), func(owner metav1.OwnerReference) bool {
					return owner.UID == env.Owner.UID
				})
			}
			return out
		},
		MergeVirtual: mergeVirtualVolumeClaim,
	}.Erase()
}

func volumeClaimToHost(env resource.Env, virtual *corev1.PersistentVolumeClaim) (*corev1.PersistentVolumeClaim, error) {
	host := &corev1.PersistentVolumeClaim{ObjectMeta: resource.HostMeta(env, virtual), Spec: virtual.Spec}
	maps.DeleteFunc(host.Annotations, func(key, _ string) bool { return isVolumeControllers(key) })
	// spec.selector and spec.volumeName are about the host's volumes, whose labels and names
	// are not ours to translate. They open nothing: the host binds a claim to a volume that
	// is free, or meant for it.
	var err error
	if host.Spec.DataSource, err = hostDataSource(env, virtual, virtual.Spec.DataSource); err != nil {
		return nil, err
	}
	if host.Spec.DataSourceRef, err = hostDataSourceRef(env, virtual, virtual.Spec.DataSourceRef); err != nil {
		return nil, err
	}
	return host, nil
}

// isVolumeControllers reports whether an annotation is a note of the binder, the scheduler
// or a provisioner about a claim: the host's are shown, and a tenant's never get there.
func isVolumeControllers(annotation string) bool {
	return strings.HasPrefix(annotation, "pv.kubernetes.io/") ||
		strings.HasPrefix(annotation, "volume.kubernetes.io/") ||
		annotation == "volume.beta.kubernetes.io/storage-provisioner"
}

func hostDataSource(env resource.Env, virtual *corev1.PersistentVolumeClaim, source *corev1.TypedLocalObjectReference) (*corev1.TypedLocalObjectReference, error) {
	if source == nil {
		return nil, nil
	}
	if _, ok := dataSourcePlural(source.APIGroup, source.Kind); !ok {
		return nil, resource.Rejectf("UnsupportedDataSource",
			"spec.dataSource is of kind %s; only a PersistentVolumeClaim or a VolumeSnapshot can be copied from", source.Kind)
	}
	out := *source
	out.Name = naming.Host(env.Tenant, virtual.Namespace, source.Name)
	return &out, nil
}

func hostDataSourceRef(env resource.Env, virtual *corev1.PersistentVolumeClaim, source *corev1.TypedObjectReference) (*corev1.TypedObjectReference, error) {
	if source == nil {
		return nil, nil
	}
	if _, ok := dataSourcePlural(source.APIGroup, source.Kind); !ok {
		return nil, resource.Rejectf("UnsupportedDataSource",
			"spec.dataSourceRef is of kind %s; only a PersistentVolumeClaim or a VolumeSnapshot can be copied from", source.Kind)
	}
	if source.Namespace != nil && *source.Namespace != virtual.Namespace {
		// On the host both would be in one namespace, where no ReferenceGrant is asked for.
		return nil, resource.Rejectf("CrossNamespaceDataSource",
			"spec.dataSourceRef.namespace is %q; a claim can only be a copy from its own namespace, %q", *source.Namespace, virtual.Namespace)
	}
	out := *source
	out.Name, out.Namespace = naming.Host(env.Tenant, virtual.Namespace, source.Name), nil
	return &out, nil
}

// dataSourcePlural is the resource that a claim can be a copy of; false for other kinds.
func dataSourcePlural(group *string, kind string) (string, bool) {
	switch {
	case (group == nil || *group == "") && kind == "PersistentVolumeClaim":
		return "persistentvolumeclaims", true
	case group != nil && *group == snapshotGroup && kind == "VolumeSnapshot":
		return "volumesnapshots", true
	}
	return "", false
}

// volumeClaimSource is what a claim is a copy of; false if it is of nothing. The API server
// keeps both fields the same where either can say it.
func volumeClaimSource(virtual *corev1.PersistentVolumeClaim) (source resource.Ref, kind string, ok bool) {
	ref := virtual.Spec.DataSourceRef
	if ref == nil {
		if local := virtual.Spec.DataSource; local != nil {
			ref = &corev1.TypedObjectReference{APIGroup: local.APIGroup, Kind: local.Kind, Name: local.Name}
		}
	}
	if ref == nil {
		return resource.Ref{}, "", false
	}
	plural, ok := dataSourcePlural(ref.APIGroup, ref.Kind)
	return resource.Ref{Resource: plural, Key: resource.Key{Namespace: virtual.Namespace, Name: ref.Name}}, ref.Kind, ok
}

func volumeClaimRefs(virtual *corev1.PersistentVolumeClaim) []resource.Ref {
	if source, _, ok := volumeClaimSource(virtual); ok {
		return []resource.Ref{source}
	}
	return nil
}

// volumeClaimWait keeps a copy from the host until what it copies is there: a provisioner that
// does not find it backs off.
func volumeClaimWait(env resource.Env, virtual *corev1.PersistentVolumeClaim) string {
	source, kind, ok := volumeClaimSource(virtual)
	if !ok || env.View.Virtual(source.Resource, source.Key) == nil {
		return "" // the provisioner says what it says on any cluster
	}
	if env.View.Host(source.Resource, naming.Host(env.Tenant, source.Namespace, source.Name)) == nil {
		return fmt.Sprintf("%s %q, of which it is a copy, is on its way to the host", kind, source.Name)
	}
	return ""
}

// mergeHostVolumeClaim changes what can change in a claim. All else is as it was when the claim
// was made: bringing it back another way would cost the data.
func mergeHostVolumeClaim(desired, live *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaim {
	out := *live
	out.Spec.Resources = desired.Spec.Resources
	out.Spec.VolumeAttributesClassName = desired.Spec.VolumeAttributesClassName
	if live.Spec.VolumeName == "" {
		out.Spec.VolumeName = desired.Spec.VolumeName
	}
	if live.Spec.StorageClassName == nil {
		out.Spec.StorageClassName = desired.Spec.StorageClassName
	}
	return &out
}

func mergeVirtualVolumeClaim(env resource.Env, virtual, host *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaim {
	out := *virtual
	out.Annotations = maps.Clone(virtual.Annotations)
	maps.DeleteFunc(out.Annotations, func(key, _ string) bool { return isVolumeControllers(key) })
	for key, value := range host.Annotations {
		if isVolumeControllers(key) {
			if out.Annotations == nil {
				out.Annotations = map[string]string{}
			}
			out.Annotations[key] = value
		}
	}
	if virtual.Spec.VolumeName == "" {
		out.Spec.VolumeName = host.Spec.VolumeName
	}
	if virtual.Spec.StorageClassName == nil && virtual.Annotations[corev1.BetaStorageClassAnnotation] == "" {
		out.Spec.StorageClassName = host.Spec.StorageClassName
	}
	out.Status = host.Status
	out.Status.Conditions = slices.Clone(host.Status.Conditions)
	for i := range out.Status.Conditions {
		out.Status.Conditions[i].Message = resource.TextAbout(env, virtual, volumeClaimRefs(virtual), out.Status.Conditions[i].Message)
	}
	return &out
}
