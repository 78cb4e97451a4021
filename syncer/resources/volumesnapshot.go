package resources

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
)

// snapshotVersion is the one of volume snapshots, which are custom resources: the host has
// them where it has the snapshot controller.
func snapshotVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: snapshotGroup, Version: "v1"}
}

// SnapshotResources are those whose definitions a tenant needs to take snapshots.
func SnapshotResources() []schema.GroupVersionResource {
	var out []schema.GroupVersionResource
	for _, plural := range []string{"volumesnapshots", "volumesnapshotcontents", "volumesnapshotclasses"} {
		out = append(out, snapshotVersion().WithResource(plural))
	}
	return out
}

func newSnapshotObject(kind string) func() *unstructured.Unstructured {
	return func() *unstructured.Unstructured {
		out := &unstructured.Unstructured{}
		out.SetGroupVersionKind(snapshotVersion().WithKind(kind))
		return out
	}
}

// field is a text of a custom resource, empty where there is none.
func field(object *unstructured.Unstructured, path ...string) string {
	text, _, _ := unstructured.NestedString(object.Object, path...)
	return text
}

// setField is for objects that were copied, whose path is made of maps.
func setField(object *unstructured.Unstructured, value any, path ...string) {
	_ = unstructured.SetNestedField(object.Object, value, path...)
}

// VolumeSnapshots go to the host, whose controllers take them.
func VolumeSnapshots() resource.Kind {
	return resource.Spec[*unstructured.Unstructured]{
		Resource:   snapshotVersion().WithResource("volumesnapshots"),
		Kind:       "VolumeSnapshot",
		Namespaced: true,
		Direction:  resource.ToHost,
		Optional:   true,
		About: resource.About{
			Virtual: "spec",
			Host:    "status; a class by default",
			Default: "all, where the host has volume snapshots",
		},
		New:     newSnapshotObject("VolumeSnapshot"),
		Reasons: snapshotReasons(),
		Refs:    snapshotRefs,
		Wait:    snapshotWait,
		ToHost:  snapshotToHost,
		MergeHost: func(_ resource.Env, desired, live *unstructured.Unstructured) *unstructured.Unstructured {
			// The source can't change.
			if class := field(desired, "spec", "volumeSnapshotClassName"); class != "" {
				setField(live, class, "spec", "volumeSnapshotClassName")
			}
			return live
		},
		MergeVirtual: mergeVirtualSnapshot,
	}.Erase()
}

// snapshotSource is the claim that a snapshot is of; empty for one that names a content.
func snapshotSource(virtual *unstructured.Unstructured) string {
	return field(virtual, "spec", "source", "persistentVolumeClaimName")
}

func snapshotRefs(virtual *unstructured.Unstructured) []resource.Ref {
	claim := snapshotSource(virtual)
	if claim == "" {
		return nil
	}
	return []resource.Ref{{Resource: "persistentvolumeclaims", Key: resource.Key{Namespace: virtual.GetNamespace(), Name: claim}}}
}

func snapshotWait(env resource.Env, virtual *unstructured.Unstructured) string {
	for _, claim := range snapshotRefs(virtual) {
		if env.View.Virtual(claim.Resource, claim.Key) != nil &&
			env.View.Host(claim.Resource, naming.Host(env.Tenant, claim.Namespace, claim.Name)) == nil {
			return fmt.Sprintf("PersistentVolumeClaim %q, of which it is a snapshot, is on its way to the host", claim.Name)
		}
	}
	return ""
}

func snapshotToHost(env resource.Env, virtual *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	claim := snapshotSource(virtual)
	if claim == "" {
		return nil, resource.Rejectf("UnsupportedSnapshotSource",
			"spec.source.volumeSnapshotContentName names a content, and contents are the host's; take snapshots of claims (spec.source.persistentVolumeClaimName)")
	}
	meta := resource.HostMeta(env, virtual)
	host := newSnapshotObject("VolumeSnapshot")()
	host.SetName(meta.Name)
	host.SetNamespace(meta.Namespace)
	host.SetLabels(meta.Labels)
	host.SetAnnotations(meta.Annotations)
	setField(host, naming.Host(env.Tenant, virtual.GetNamespace(), claim), "spec", "source", "persistentVolumeClaimName")
	if class, named, _ := unstructured.NestedString(virtual.Object, "spec", "volumeSnapshotClassName"); named {
		setField(host, class, "spec", "volumeSnapshotClassName")
	}
	return host, nil
}

func mergeVirtualSnapshot(env resource.Env, virtual, host *unstructured.Unstructured) *unstructured.Unstructured {
	out := virtual.DeepCopy()
	if class := field(host, "spec", "volumeSnapshotClassName"); class != "" && field(virtual, "spec", "volumeSnapshotClassName") == "" {
		setField(out, class, "spec", "volumeSnapshotClassName")
	}
	copySnapshotStatus(host, out, func(text string) string { return resource.TextAbout(env, virtual, snapshotRefs(virtual), text) })
	return out
}

// copySnapshotStatus gives to a copy of from's status, with its message in the tenant's words.
func copySnapshotStatus(from, to *unstructured.Unstructured, words func(string) string) {
	status, ok, _ := unstructured.NestedMap(from.Object, "status") // copies
	if !ok {
		delete(to.Object, "status")
		return
	}
	to.Object["status"] = status
	if message := field(to, "status", "error", "message"); message != "" {
		setField(to, words(message), "status", "error", "message")
	}
}
