package resources

import (
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
)

const (
	// pvProtection is the finalizer that every API server puts on volumes, and that its
	// controller takes off when the volume is not Bound.
	pvProtection = "kubernetes.io/pv-protection"
	// annProvisioner and annBetaProvisioner are where the host's binder notes whom it asks
	// to make a claim's volume.
	annProvisioner     = "volume.kubernetes.io/storage-provisioner"
	annBetaProvisioner = "volume.beta.kubernetes.io/storage-provisioner"
)

// PersistentVolumes mirror those of the host that are bound to the tenant's claims, and
// stay in sight when their claim has gone (Released) for as long as the host has them.
// Nobody else's are ever seen. Where the host's can't be read (unreadable), they are made
// of what the claims tell.
//
// A mirror keeps the host's name, which is in the claim's spec.volumeName and is of the
// provisioner's making.
func PersistentVolumes(unreadable bool) resource.Kind {
	spec := resource.Spec[*corev1.PersistentVolume]{
		Resource:  corev1.SchemeGroupVersion.WithResource("persistentvolumes"),
		Kind:      "PersistentVolume",
		Direction: resource.FromHost,
		Optional:  true,
		About: resource.About{
			Virtual: "nothing; volumes that a tenant makes are not the host's, and hold nothing",
			Host:    "everything, without the names of its Secrets; `claimRef` is the virtual claim",
			Default: "those bound to the tenant's claims; made of the claims where the host's can't be read",
		},
		Finalizers: []string{pvProtection},
		New:        func() *corev1.PersistentVolume { return &corev1.PersistentVolume{} },
		Sources: map[string]func(resource.Object) []string{
			"persistentvolumeclaims": func(host resource.Object) []string {
				if claim, ok := host.(*corev1.PersistentVolumeClaim); ok && claim.Spec.VolumeName != "" {
					return []string{claim.Spec.VolumeName}
				}
				return nil
			},
		},
		Select: func(env resource.Env, host *corev1.PersistentVolume) bool {
			return virtualVolumeClaim(env, host) != nil
		},
		ToVirtual:    volumeToVirtual,
		MergeVirtual: mergeVirtualVolume,
		Replace: func(desired, live *corev1.PersistentVolume) bool {
			return !equality.Semantic.DeepEqual(desired.Spec.PersistentVolumeSource, live.Spec.PersistentVolumeSource) ||
				!equality.Semantic.DeepEqual(desired.Spec.VolumeMode, live.Spec.VolumeMode)
		},
	}
	if unreadable {
		spec.Make = madeVolume
	}
	return spec.Erase()
}

// virtualVolumeClaim is the reference to the virtual claim that a host volume belongs to,
// nil if it is not this tenant's: that of the host claim to which it is bound or, when
// that has gone, of the mirror that was made while it was there.
func virtualVolumeClaim(env resource.Env, host *corev1.PersistentVolume) *corev1.ObjectReference {
	ref := host.Spec.ClaimRef
	if ref == nil || ref.Namespace != env.HostNamespace || ref.UID == "" {
		return nil
	}
	out := &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim"}
	if claim := env.View.Host("persistentvolumeclaims", ref.Name); claim != nil && claim.GetUID() == ref.UID {
		key, ok := resource.VirtualKey(claim)
		if !ok || !resource.IsOurs(env, "PersistentVolumeClaim", claim) {
			return nil
		}
		out.Namespace, out.Name = key.Namespace, key.Name
		out.UID = types.UID(claim.GetAnnotations()[resource.AnnotationUID])
		return out
	}
	mirror, ok := env.View.Virtual("persistentvolumes", resource.Key{Name: host.Name}).(*corev1.PersistentVolume)
	if !ok || mirror.Annotations[resource.AnnotationMirror] == "" || mirror.Spec.ClaimRef == nil ||
		naming.Host(env.Tenant, mirror.Spec.ClaimRef.Namespace, mirror.Spec.ClaimRef.Name) != ref.Name {
		return nil
	}
	out.Namespace, out.Name, out.UID = mirror.Spec.ClaimRef.Namespace, mirror.Spec.ClaimRef.Name, mirror.Spec.ClaimRef.UID
	return out
}

func volumeToVirtual(env resource.Env, host *corev1.PersistentVolume) (*corev1.PersistentVolume, error) {
	claim := virtualVolumeClaim(env, host)
	if claim == nil {
		return nil, resource.Rejectf("NotOurs", "the volume is bound to no claim of this cluster")
	}
	text := volumeText{env: env, hostClaim: host.Spec.ClaimRef.Name, claim: claim}
	virtual := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: host.Name, Labels: foreignLabels(host.Labels), Annotations: volumeAnnotations(host.Annotations)},
		Spec:       *host.Spec.DeepCopy(),
		Status:     host.Status,
	}
	virtual.Spec.ClaimRef = claim
	text.source(&virtual.Spec.PersistentVolumeSource)
	virtual.Status.Message = resource.VirtualText(env, claim.Namespace, resource.NamesOf(env, resource.Key{Namespace: claim.Namespace, Name: claim.Name}), host.Status.Message)
	return virtual, nil
}

// foreignLabels are a host object's labels without ours.
func foreignLabels(labels map[string]string) map[string]string {
	out := maps.Clone(labels)
	maps.DeleteFunc(out, func(key, _ string) bool { return strings.HasPrefix(key, resource.Prefix) })
	return out
}

// volumeAnnotations are those that say how a volume came to be. The rest are notes of the
// host's provisioners, some of which name Secrets.
func volumeAnnotations(host map[string]string) map[string]string {
	out := map[string]string{}
	for _, key := range []string{"pv.kubernetes.io/provisioned-by", "pv.kubernetes.io/bound-by-controller"} {
		if value, ok := host[key]; ok {
			out[key] = value
		}
	}
	return out
}

func mergeVirtualVolume(_ resource.Env, virtual, host *corev1.PersistentVolume) *corev1.PersistentVolume {
	out := *virtual
	out.Labels = host.Labels
	out.Annotations = maps.Clone(virtual.Annotations)
	maps.DeleteFunc(out.Annotations, func(key, _ string) bool { return strings.HasPrefix(key, "pv.kubernetes.io/") })
	maps.Copy(out.Annotations, host.Annotations) // has the mark of a mirror, so it is not nil
	out.Spec = host.Spec
	if virtual.Spec.NodeAffinity != nil {
		out.Spec.NodeAffinity = virtual.Spec.NodeAffinity // can be set, not changed
	}
	out.Status = host.Status
	if host.Status.LastPhaseTransitionTime == nil { // made of a claim, which does not tell
		out.Status.LastPhaseTransitionTime = virtual.Status.LastPhaseTransitionTime
	}
	return &out
}

// madeVolume is the host volume of a name as far as the claim that is bound to it tells.
func madeVolume(env resource.Env, name string) *corev1.PersistentVolume {
	for _, object := range env.View.HostList("persistentvolumeclaims") {
		claim, ok := object.(*corev1.PersistentVolumeClaim)
		if !ok || claim.Spec.VolumeName != name || claim.Status.Phase != corev1.ClaimBound {
			continue
		}
		class := ""
		if claim.Spec.StorageClassName != nil {
			class = *claim.Spec.StorageClassName
		}
		provisioner := claim.Annotations[annProvisioner]
		if provisioner == "" {
			provisioner = claim.Annotations[annBetaProvisioner]
		}
		out := &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: corev1.PersistentVolumeSpec{
				Capacity: claim.Status.Capacity, AccessModes: claim.Status.AccessModes,
				PersistentVolumeSource:        corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: driverName(provisioner), VolumeHandle: name}},
				ClaimRef:                      &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID},
				PersistentVolumeReclaimPolicy: reclaimPolicy(env, class),
				StorageClassName:              class, VolumeMode: claim.Spec.VolumeMode,
				VolumeAttributesClassName: claim.Status.CurrentVolumeAttributesClassName,
			},
			Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeBound},
		}
		if provisioner != "" {
			out.Annotations = map[string]string{"pv.kubernetes.io/provisioned-by": provisioner}
		}
		return out
	}
	return nil
}

// unknownDriver stands where nobody knows a volume's driver: the API wants a source.
const unknownDriver = "unknown"

// driverName is a provisioner's name where it can be a CSI driver's, which has no slash.
func driverName(provisioner string) string {
	if provisioner == "" || strings.Contains(provisioner, "/") {
		return unknownDriver
	}
	return provisioner
}
