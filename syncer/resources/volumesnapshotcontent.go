package resources

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
)

// VolumeSnapshotContents mirror those of the tenant's snapshots, as PersistentVolumes
// mirror the volumes of its claims.
func VolumeSnapshotContents() resource.Kind {
	return resource.Spec[*unstructured.Unstructured]{
		Resource:  snapshotVersion().WithResource("volumesnapshotcontents"),
		Kind:      "VolumeSnapshotContent",
		Direction: resource.FromHost,
		Optional:  true,
		About: resource.About{
			Virtual: "nothing; contents that a tenant makes are not the host's, and hold nothing",
			Host:    "everything, without the names of its Secrets; `volumeSnapshotRef` is the virtual snapshot",
			Default: "those of the tenant's snapshots",
		},
		New: newSnapshotObject("VolumeSnapshotContent"),
		Sources: map[string]func(resource.Object) []string{
			"volumesnapshots": func(host resource.Object) []string {
				if snapshot, ok := host.(*unstructured.Unstructured); ok {
					if content := field(snapshot, "status", "boundVolumeSnapshotContentName"); content != "" {
						return []string{content}
					}
				}
				return nil
			},
		},
		Select: func(env resource.Env, host *unstructured.Unstructured) bool {
			return virtualSnapshot(env, host) != nil
		},
		ToVirtual: contentToVirtual,
		MergeVirtual: func(_ resource.Env, virtual, host *unstructured.Unstructured) *unstructured.Unstructured {
			out := virtual.DeepCopy()
			out.SetLabels(host.GetLabels())
			for _, part := range []string{"spec", "status"} {
				if value, ok := host.Object[part]; ok {
					out.Object[part] = value
				} else {
					delete(out.Object, part)
				}
			}
			return out
		},
	}.Erase()
}

// virtualSnapshot is the reference to the virtual snapshot that a host content belongs to,
// nil if it is not this tenant's.
func virtualSnapshot(env resource.Env, host *unstructured.Unstructured) *corev1.ObjectReference {
	name, uid := field(host, "spec", "volumeSnapshotRef", "name"), field(host, "spec", "volumeSnapshotRef", "uid")
	if field(host, "spec", "volumeSnapshotRef", "namespace") != env.HostNamespace || uid == "" {
		return nil
	}
	out := &corev1.ObjectReference{APIVersion: snapshotVersion().String(), Kind: "VolumeSnapshot"}
	if snapshot := env.View.Host("volumesnapshots", name); snapshot != nil && string(snapshot.GetUID()) == uid {
		key, ok := resource.VirtualKey(snapshot)
		if !ok || !resource.IsOurs(env, "VolumeSnapshot", snapshot) {
			return nil
		}
		out.Namespace, out.Name, out.UID = key.Namespace, key.Name, types.UID(snapshot.GetAnnotations()[resource.AnnotationUID])
		return out
	}
	mirror, ok := env.View.Virtual("volumesnapshotcontents", resource.Key{Name: host.GetName()}).(*unstructured.Unstructured)
	if !ok || mirror.GetAnnotations()[resource.AnnotationMirror] == "" {
		return nil
	}
	out.Namespace, out.Name = field(mirror, "spec", "volumeSnapshotRef", "namespace"), field(mirror, "spec", "volumeSnapshotRef", "name")
	out.UID = types.UID(field(mirror, "spec", "volumeSnapshotRef", "uid"))
	if naming.Host(env.Tenant, out.Namespace, out.Name) != name {
		return nil
	}
	return out
}

func contentToVirtual(env resource.Env, host *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	snapshot := virtualSnapshot(env, host)
	if snapshot == nil {
		return nil, resource.Rejectf("NotOurs", "the content is of no snapshot of this cluster")
	}
	virtual := newSnapshotObject("VolumeSnapshotContent")()
	virtual.SetName(host.GetName())
	virtual.SetLabels(foreignLabels(host.GetLabels()))
	if spec, ok, _ := unstructured.NestedMap(host.Object, "spec"); ok { // copies
		virtual.Object["spec"] = spec
	}
	setField(virtual, map[string]any{
		"apiVersion": snapshot.APIVersion, "kind": snapshot.Kind,
		"namespace": snapshot.Namespace, "name": snapshot.Name, "uid": string(snapshot.UID),
	}, "spec", "volumeSnapshotRef")
	text := volumeText{env: env, hostClaim: field(host, "spec", "volumeSnapshotRef", "name"), claim: snapshot}
	copySnapshotStatus(host, virtual, func(message string) string { return virtualNames(env, text.translate(message)) })
	return virtual, nil
}

// VolumeSnapshotClasses mirror the host's, without the parameters that name Secrets.
func VolumeSnapshotClasses() resource.Kind {
	return resource.Spec[*unstructured.Unstructured]{
		Resource:  snapshotVersion().WithResource("volumesnapshotclasses"),
		Kind:      "VolumeSnapshotClass",
		Direction: resource.FromHost,
		Optional:  true,
		NoStatus:  true,
		About: resource.About{
			Virtual: "the tenant's own classes, which no driver of the host knows",
			Host:    "everything, without the parameters that name Secrets",
			Default: "all of the host",
		},
		New:       newSnapshotObject("VolumeSnapshotClass"),
		ToVirtual: snapshotClassToVirtual,
		MergeVirtual: func(_ resource.Env, virtual, host *unstructured.Unstructured) *unstructured.Unstructured {
			out := virtual.DeepCopy()
			out.SetLabels(host.GetLabels())
			annotations := out.GetAnnotations()
			delete(annotations, defaultSnapshotClass)
			maps.Copy(annotations, host.GetAnnotations()) // has the mark of a mirror, so it is not nil
			out.SetAnnotations(annotations)
			for _, part := range []string{"driver", "deletionPolicy", "parameters"} {
				if value, ok := host.Object[part]; ok {
					out.Object[part] = value
				} else {
					delete(out.Object, part)
				}
			}
			return out
		},
	}.Erase()
}

// defaultSnapshotClass marks the class of snapshots that name none.
const defaultSnapshotClass = "snapshot.storage.kubernetes.io/is-default-class"

func snapshotClassToVirtual(_ resource.Env, host *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	virtual := newSnapshotObject("VolumeSnapshotClass")()
	meta := mirrorMeta(host)
	virtual.SetName(meta.Name)
	virtual.SetLabels(meta.Labels)
	if value, ok := host.GetAnnotations()[defaultSnapshotClass]; ok {
		virtual.SetAnnotations(map[string]string{defaultSnapshotClass: value})
	}
	for _, part := range []string{"driver", "deletionPolicy"} {
		virtual.Object[part] = host.Object[part]
	}
	parameters, ok, _ := unstructured.NestedMap(host.Object, "parameters") // copies
	maps.DeleteFunc(parameters, func(key string, _ any) bool { return namesSecret(key) })
	if ok && len(parameters) > 0 {
		virtual.Object["parameters"] = parameters
	}
	return virtual, nil
}
