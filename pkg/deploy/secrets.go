package deploy

import (
	corev1 "k8s.io/api/core/v1"
)

// secretVolumes are the Secrets that the configuration names, mounted read-only: what is in them must not stand in the
// ConfigMap. Without any, the pod has none.
func secretVolumes(o Options) (volumes []corev1.Volume, mounts []corev1.VolumeMount) {
	for _, mount := range o.Config.SecretMounts() {
		volumes = append(volumes, corev1.Volume{Name: mount.Name, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
			SecretName: mount.Secret,
			// A Secret without the key keeps the pod from starting, and kubelet says which is missing.
			Items: []corev1.KeyToPath{{Key: mount.Key, Path: mount.Key}},
		}}})
		mounts = append(mounts, corev1.VolumeMount{Name: mount.Name, MountPath: mount.Dir(), ReadOnly: true})
	}
	return volumes, mounts
}
