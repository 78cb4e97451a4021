package resourcemetrics

import (
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// selected reports whether an object is one of those that a list asks for.
func selected(options *internalversion.ListOptions, object metav1.Object) bool {
	if options == nil {
		return true
	}
	if selector := options.LabelSelector; selector != nil && !selector.Matches(labels.Set(object.GetLabels())) {
		return false
	}
	return options.FieldSelector == nil || options.FieldSelector.Matches(fields.Set{
		"metadata.name": object.GetName(), "metadata.namespace": object.GetNamespace(),
	})
}

// line is what a table shows of an object.
type line struct {
	object runtime.Object
	name   string
	usage  corev1.ResourceList
	window time.Duration
}

// table has a column for each resource of which some line knows something.
func table(meta *metav1.ListMeta, lines []line) *metav1.Table {
	found := map[corev1.ResourceName]bool{}
	for _, line := range lines {
		for name := range line.usage {
			found[name] = true
		}
	}
	resources := slices.Sorted(maps.Keys(found))

	out := &metav1.Table{ListMeta: *meta}
	out.ColumnDefinitions = append(out.ColumnDefinitions, metav1.TableColumnDefinition{Name: "Name", Type: "string", Format: "name", Description: "Name of the resource"})
	for _, name := range resources {
		out.ColumnDefinitions = append(out.ColumnDefinitions, metav1.TableColumnDefinition{Name: string(name), Type: "string", Format: "quantity"})
	}
	out.ColumnDefinitions = append(out.ColumnDefinitions, metav1.TableColumnDefinition{Name: "Window", Type: "string", Format: "duration"})

	for _, line := range lines {
		cells := []any{line.name}
		for _, name := range resources {
			quantity := line.usage[name]
			cells = append(cells, quantity.String())
		}
		cells = append(cells, line.window.String())
		out.Rows = append(out.Rows, metav1.TableRow{Cells: cells, Object: runtime.RawExtension{Object: line.object}})
	}
	return out
}

func notTabular(object runtime.Object) error { return fmt.Errorf("no table for %T", object) }
