package resources

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"nestling.dev/nestling/syncer/resource"
)

// StorageClasses mirror the host's, its default among them. Parameters that say where a
// provisioner's Secrets are stay on the host: no tenant needs them, and they name the
// host's namespaces.
func StorageClasses() resource.Kind {
	return resource.Spec[*storagev1.StorageClass]{
		Resource:  storagev1.SchemeGroupVersion.WithResource("storageclasses"),
		Kind:      "StorageClass",
		Direction: resource.FromHost,
		Optional:  true,
		NoStatus:  true,
		Atomic:    true, // allowedTopologies has no keys
		About: resource.About{
			Virtual: "the tenant's own classes, which no provisioner of the host knows",
			Host:    "everything, without the parameters that name Secrets",
			Default: "all of the host",
		},
		New: func() *storagev1.StorageClass { return &storagev1.StorageClass{} },
		ToVirtual: func(_ resource.Env, host *storagev1.StorageClass) (*storagev1.StorageClass, error) {
			virtual := *host
			virtual.ObjectMeta = mirrorMeta(host)
			virtual.Annotations = defaultClass(host.Annotations)
			virtual.Parameters = maps.Clone(host.Parameters)
			maps.DeleteFunc(virtual.Parameters, func(key, _ string) bool { return namesSecret(key) })
			return &virtual, nil
		},
		MergeVirtual: func(_ resource.Env, virtual, host *storagev1.StorageClass) *storagev1.StorageClass {
			out := *virtual
			out.Labels = host.Labels
			out.Annotations = maps.Clone(virtual.Annotations)
			for _, key := range defaultClassAnnotations() {
				delete(out.Annotations, key)
			}
			maps.Copy(out.Annotations, host.Annotations) // has the mark of a mirror, so it is not nil
			out.MountOptions, out.AllowVolumeExpansion, out.AllowedTopologies = host.MountOptions, host.AllowVolumeExpansion, host.AllowedTopologies
			return &out
		},
		Replace: func(desired, live *storagev1.StorageClass) bool {
			return desired.Provisioner != live.Provisioner ||
				!equality.Semantic.DeepEqual(desired.Parameters, live.Parameters) ||
				!equality.Semantic.DeepEqual(desired.ReclaimPolicy, live.ReclaimPolicy) ||
				!equality.Semantic.DeepEqual(desired.VolumeBindingMode, live.VolumeBindingMode)
		},
	}.Erase()
}

// defaultClassAnnotations mark the class of claims that name none.
func defaultClassAnnotations() []string {
	return []string{"storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"}
}

func defaultClass(annotations map[string]string) map[string]string {
	out := map[string]string{}
	for _, key := range defaultClassAnnotations() {
		if value, ok := annotations[key]; ok {
			out[key] = value
		}
	}
	return out
}

// reclaimPolicy is that of a host class, the API's default if the class can't be read.
func reclaimPolicy(env resource.Env, class string) corev1.PersistentVolumeReclaimPolicy {
	if host, ok := env.View.Host("storageclasses", class).(*storagev1.StorageClass); ok && host.ReclaimPolicy != nil {
		return *host.ReclaimPolicy
	}
	return corev1.PersistentVolumeReclaimDelete
}
