package resources

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
)

// volumes makes the volumes show what they would show in the virtual cluster: its
// pod's metadata, its tokens, its ephemeral claims. Names are translated later.
func (t *podTranslation) volumes() error {
	for i := range t.host.Spec.Volumes {
		volume := &t.host.Spec.Volumes[i]
		if volume.Ephemeral != nil {
			volume.VolumeSource = corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{
				ClaimName: ephemeralClaim(t.virtual.Name, volume.Name),
			}}
		}
		if volume.DownwardAPI != nil {
			t.downward.translate(volume.DownwardAPI.Items)
		}
		if volume.Projected == nil {
			continue
		}
		for j := range volume.Projected.Sources {
			source := &volume.Projected.Sources[j]
			switch {
			case source.DownwardAPI != nil:
				t.downward.translate(source.DownwardAPI.Items)
			case source.ClusterTrustBundle != nil:
				return resource.Rejectf("UnsupportedVolume", "volume %q: clusterTrustBundle sources are not supported", volume.Name)
			case source.PodCertificate != nil:
				return resource.Rejectf("UnsupportedVolume", "volume %q: podCertificate sources are not supported", volume.Name)
			}
		}
	}
	return nil
}

// podVolumesWait keeps a pod from the host until its claims are there: the scheduler would
// report that there are none. A claim that its user has yet to make is not waited for,
// since the scheduler says about it what it says on any cluster; one that the virtual
// ephemeral controller makes is.
func podVolumesWait(env resource.Env, virtual *corev1.Pod) string {
	for _, volume := range virtual.Spec.Volumes {
		name := ""
		switch {
		case volume.PersistentVolumeClaim != nil:
			name = volume.PersistentVolumeClaim.ClaimName
		case volume.Ephemeral != nil:
			name = ephemeralClaim(virtual.Name, volume.Name)
		default:
			continue
		}
		claim := env.View.Virtual("persistentvolumeclaims", resource.Key{Namespace: virtual.Namespace, Name: name})
		switch {
		case claim == nil && volume.Ephemeral != nil:
			return fmt.Sprintf("PersistentVolumeClaim %q of its ephemeral volume %q is not there yet", name, volume.Name)
		case claim == nil:
			continue
		case claim.GetDeletionTimestamp() != nil:
			// The host's own is there until the pods that use it are gone, and its scheduler
			// would let more use it.
			return fmt.Sprintf("persistentvolumeclaim %q is being deleted", name)
		case volume.Ephemeral != nil && !metav1.IsControlledBy(claim, virtual):
			// The host would take it for any claim, and let the pod have it.
			return fmt.Sprintf("PersistentVolumeClaim %q was not made for this pod's ephemeral volume %q", name, volume.Name)
		}
		host := env.View.Host("persistentvolumeclaims", naming.Host(env.Tenant, virtual.Namespace, name))
		if host == nil || host.GetAnnotations()[resource.AnnotationUID] != string(claim.GetUID()) {
			return fmt.Sprintf("PersistentVolumeClaim %q is on its way to the host", name)
		}
	}
	return ""
}

// tokens replaces sources of ServiceAccount tokens by the Secret that holds them. Its
// own name is not one of the virtual cluster, so this goes after names.
func (t *podTranslation) tokens() error {
	secret := TokenSecretName(t.env.Tenant, t.virtual.Namespace, t.virtual.Name)
	for _, token := range Tokens(t.virtual) {
		for i := range t.host.Spec.Volumes {
			if t.host.Spec.Volumes[i].Name != token.Volume {
				continue
			}
			// The file's mode stays the volume's default: kubelet makes a token 0600 only
			// together with the user that owns it, which it does for no Secret.
			t.host.Spec.Volumes[i].Projected.Sources[token.Source] = corev1.VolumeProjection{
				Secret: &corev1.SecretProjection{
					LocalObjectReference: corev1.LocalObjectReference{Name: secret},
					Items:                []corev1.KeyToPath{{Key: token.Key, Path: token.Path}},
				},
			}
		}
	}
	return nil
}

// downwardFields points downward API volumes, and variables, to annotations of the host
// pod that hold what the virtual pod's fields hold, and follow their changes.
type downwardFields struct {
	translation *podTranslation
	keyed       map[string]string // annotation by path, of paths with a key
}

func (d downwardFields) translate(items []corev1.DownwardAPIVolumeFile) {
	for i := range items {
		if items[i].FieldRef != nil {
			d.point(items[i].FieldRef)
		}
	}
}

// point leaves fields alone that only the host knows.
func (d downwardFields) point(reference *corev1.ObjectFieldSelector) {
	value, ok := podField(d.translation.virtual, reference.FieldPath)
	if !ok {
		return
	}
	key := d.annotation(reference.FieldPath)
	if key != resource.AnnotationUID || value != "" {
		d.translation.host.Annotations[key] = value
	}
	reference.FieldPath = "metadata.annotations['" + key + "']"
}

// annotation is the key under which a path's value is kept. Paths with a key are
// numbered: their keys can be as long as an annotation's name may be, and a pod's
// volumes never change.
func (d downwardFields) annotation(path string) string {
	switch path {
	case "metadata.name":
		return resource.AnnotationName
	case "metadata.namespace":
		return resource.AnnotationNamespace
	case "metadata.uid":
		return resource.AnnotationUID
	case "metadata.labels":
		return podLabels
	case "metadata.annotations":
		return podAnnotations
	}
	if _, ok := d.keyed[path]; !ok {
		d.keyed[path] = podDownward + strconv.Itoa(len(d.keyed))
	}
	return d.keyed[path]
}

// formatMap is labels or annotations as kubelet writes them into a downward API file:
// sorted key="value" lines.
func formatMap(values map[string]string) string {
	var out strings.Builder
	for i, key := range slices.Sorted(maps.Keys(values)) {
		if i > 0 {
			out.WriteByte('\n')
		}
		out.WriteString(key)
		out.WriteByte('=')
		out.WriteString(strconv.Quote(values[key]))
	}
	return out.String()
}
