package leak_test

import (
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"nestling.dev/nestling/syncer/resource"
)

// customFields are the fields of kinds without Go types, by plural: path and class. A path
// that ends with [] is a list of texts. What a schema has beside them the law cannot see:
// such kinds must name what they let pass.
func customFields(plural string) []string {
	return map[string][]string{
		"volumesnapshots": {
			"spec.source.persistentVolumeClaimName reference",
			"spec.volumeSnapshotClassName cluster",
			"status.boundVolumeSnapshotContentName cluster",
			"status.error.message message",
			"status.readyToUse value",
			"status.restoreSize text",
		},
		"volumesnapshotclasses": {
			"driver text",
			"deletionPolicy text",
			"parameters.w text",
			"parameters.csi.storage.k8s.io/snapshotter-secret-name reference",
			"parameters.csi.storage.k8s.io/snapshotter-secret-namespace namespace",
			"parameters.csi.storage.k8s.io/snapshotter-list-secret-name reference",
			"parameters.csi.storage.k8s.io/snapshotter-list-secret-namespace namespace",
		},
		"volumesnapshotcontents": {
			"spec.deletionPolicy text",
			"spec.driver text",
			"spec.volumeSnapshotClassName cluster",
			"spec.sourceVolumeMode text",
			"spec.source.volumeHandle text",
			"spec.source.snapshotHandle text",
			"spec.volumeSnapshotRef.name reference",
			"spec.volumeSnapshotRef.namespace namespace",
			"spec.volumeSnapshotRef.uid uid",
			"status.snapshotHandle text",
			"status.readyToUse value",
			"status.error.message message",
			"status.volumeGroupSnapshotHandle text",
		},
	}[plural]
}

// path of a field in nested maps; keys of annotations and parameters have dots.
func customPath(field string) []string {
	if prefix, key, ok := strings.Cut(field, "parameters."); ok {
		return append(strings.FieldsFunc(prefix, func(r rune) bool { return r == '.' }), "parameters", key)
	}
	return strings.Split(field, ".")
}

func (f *filler) fillCustom(object *unstructured.Unstructured, kind resource.Kind) {
	for _, line := range customFields(kind.Resource.Resource) {
		if f.chance(4) {
			continue
		}
		field, class, _ := strings.Cut(line, " ")
		var value any = f.text(class)
		if class == classValue {
			value = f.chance(2)
		}
		if err := unstructured.SetNestedField(object.Object, value, customPath(field)...); err != nil {
			panic(err)
		}
	}
}

// walkCustom visits the leaves of an object without Go type, but for its metadata.
func walkCustom(object *unstructured.Unstructured, kind resource.Kind, leaf leafVisitor, bad func(string, any)) {
	lines := customFields(kind.Resource.Resource)
	var visit func(path string, value any)
	visit = func(path string, value any) {
		switch value := value.(type) {
		case map[string]any:
			for key, item := range value {
				visit(strings.TrimPrefix(path+"."+key, "."), item)
			}
		case []any:
			for _, item := range value {
				visit(path+"[]", item)
			}
		default:
			at := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, path+" ") })
			if at < 0 {
				bad(path, "a field of which nobody has said what it means")
				return
			}
			_, class, _ := strings.Cut(lines[at], " ")
			leaf(path, class, reflect.ValueOf(value))
		}
	}
	for key, value := range object.Object {
		if key != "metadata" && key != "apiVersion" && key != "kind" {
			visit(key, value)
		}
	}
}
