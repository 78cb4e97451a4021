package resources

import (
	corev1 "k8s.io/api/core/v1"
)

// forEachName calls visit with every place in a pod that names another namespaced object,
// and the plural of that object's kind. It is the one list of such places: what a pod
// refers to, how its names are translated and how they are translated back in messages all
// come from it.
//
// ServiceAccounts are not in it (host pods have one of their own), nor are the Secrets
// that hold tokens, which no field of a virtual pod names.
func forEachName(pod *corev1.Pod, visit func(plural string, name *string)) {
	name := func(plural string, at *string) {
		if *at != "" {
			visit(plural, at)
		}
	}
	forEachContainer(&pod.Spec, func(container *corev1.Container) { containerNames(container, name) })
	for i := range pod.Spec.Volumes {
		volumeNames(pod, &pod.Spec.Volumes[i], name)
	}
	for i := range pod.Spec.ImagePullSecrets {
		name("secrets", &pod.Spec.ImagePullSecrets[i].Name)
	}
	for i := range pod.Spec.ResourceClaims {
		claim := &pod.Spec.ResourceClaims[i]
		if claim.ResourceClaimName != nil {
			name("resourceclaims", claim.ResourceClaimName)
		}
		if claim.ResourceClaimTemplateName != nil {
			name("resourceclaimtemplates", claim.ResourceClaimTemplateName)
		}
	}
	for i := range pod.Status.ResourceClaimStatuses { // claims of templates
		if claim := pod.Status.ResourceClaimStatuses[i].ResourceClaimName; claim != nil {
			name("resourceclaims", claim)
		}
	}
	if group := pod.Spec.SchedulingGroup; group != nil && group.PodGroupName != nil {
		name("podgroups", group.PodGroupName)
	}
}

// forEachContainer calls visit with every container: init, main and ephemeral.
func forEachContainer(spec *corev1.PodSpec, visit func(*corev1.Container)) {
	for i := range spec.InitContainers {
		visit(&spec.InitContainers[i])
	}
	for i := range spec.Containers {
		visit(&spec.Containers[i])
	}
	for i := range spec.EphemeralContainers {
		// The same fields in the same order, by the API's own promise.
		visit((*corev1.Container)(&spec.EphemeralContainers[i].EphemeralContainerCommon))
	}
}

func containerNames(container *corev1.Container, name func(plural string, at *string)) {
	for i := range container.EnvFrom {
		if source := container.EnvFrom[i].ConfigMapRef; source != nil {
			name("configmaps", &source.Name)
		}
		if source := container.EnvFrom[i].SecretRef; source != nil {
			name("secrets", &source.Name)
		}
	}
	for i := range container.Env {
		source := container.Env[i].ValueFrom
		if source == nil {
			continue
		}
		if source.ConfigMapKeyRef != nil {
			name("configmaps", &source.ConfigMapKeyRef.Name)
		}
		if source.SecretKeyRef != nil {
			name("secrets", &source.SecretKeyRef.Name)
		}
	}
}

func volumeNames(pod *corev1.Pod, volume *corev1.Volume, name func(plural string, at *string)) {
	if volume.ConfigMap != nil {
		name("configmaps", &volume.ConfigMap.Name)
	}
	if volume.Secret != nil {
		name("secrets", &volume.Secret.SecretName)
	}
	if volume.PersistentVolumeClaim != nil {
		name("persistentvolumeclaims", &volume.PersistentVolumeClaim.ClaimName)
	}
	if volume.Ephemeral != nil {
		claim := ephemeralClaim(pod.Name, volume.Name)
		name("persistentvolumeclaims", &claim)
	}
	if volume.AzureFile != nil {
		name("secrets", &volume.AzureFile.SecretName)
	}
	if volume.Glusterfs != nil {
		name("endpoints", &volume.Glusterfs.EndpointsName)
	}
	for _, secret := range volumeSecrets(volume) {
		if secret != nil {
			name("secrets", &secret.Name)
		}
	}
	if volume.Projected != nil {
		for i := range volume.Projected.Sources {
			if source := volume.Projected.Sources[i].ConfigMap; source != nil {
				name("configmaps", &source.Name)
			}
			if source := volume.Projected.Sources[i].Secret; source != nil {
				name("secrets", &source.Name)
			}
		}
	}
}

// volumeSecrets are the references to Secrets with a storage system's credentials.
func volumeSecrets(volume *corev1.Volume) []*corev1.LocalObjectReference {
	var out []*corev1.LocalObjectReference
	if volume.CSI != nil {
		out = append(out, volume.CSI.NodePublishSecretRef)
	}
	if volume.CephFS != nil {
		out = append(out, volume.CephFS.SecretRef)
	}
	if volume.Cinder != nil {
		out = append(out, volume.Cinder.SecretRef)
	}
	if volume.FlexVolume != nil {
		out = append(out, volume.FlexVolume.SecretRef)
	}
	if volume.ISCSI != nil {
		out = append(out, volume.ISCSI.SecretRef)
	}
	if volume.RBD != nil {
		out = append(out, volume.RBD.SecretRef)
	}
	if volume.ScaleIO != nil {
		out = append(out, volume.ScaleIO.SecretRef)
	}
	if volume.StorageOS != nil {
		out = append(out, volume.StorageOS.SecretRef)
	}
	return out
}

// ephemeralClaim is the name of the claim that the controller of generic ephemeral
// volumes makes for a pod's volume.
func ephemeralClaim(pod, volume string) string { return pod + "-" + volume }
