package schema

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"nestling.dev/nestling/syncer/resource"
)

// Pruner takes from objects of one kind what a server does not know. The zero Pruner, and
// nil, take nothing.
type Pruner struct {
	typed  *cut  // of kinds with a Go type
	custom *Node // of others
}

// NewPruner is for objects like example, of a server that knows what node says; nil if it
// knows all that such objects can have.
func NewPruner(example resource.Object, node *Node) *Pruner {
	if node == nil {
		return nil
	}
	if _, ok := example.(*unstructured.Unstructured); ok {
		return &Pruner{custom: node}
	}
	if cut := cutOf(example, node); cut != nil {
		return &Pruner{typed: cut}
	}
	return nil
}

// Find is what the server does not know of an object: the paths of its set fields, with
// [] for every element of a list or map, sorted, each once.
func (p *Pruner) Find(object resource.Object) []string {
	if p == nil {
		return nil
	}
	var found []string
	note := func(path string) { found = append(found, path) }
	if custom, ok := object.(*unstructured.Unstructured); ok {
		walk(p.custom, custom.Object, "", note, false)
	} else {
		p.typed.walkObject(object, note, false)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// Prune is object without what the server does not know. It does not change object: what
// has nothing to lose is returned as it is.
func (p *Pruner) Prune(object resource.Object) resource.Object {
	if len(p.Find(object)) == 0 {
		return object
	}
	out := object.DeepCopyObject().(resource.Object)
	if custom, ok := out.(*unstructured.Unstructured); ok {
		walk(p.custom, custom.Object, "", func(string) {}, true)
	} else {
		p.typed.walkObject(out, func(string) {}, true)
	}
	return out
}

// walk notes what node does not know of a JSON value, and removes it if told.
func walk(node *Node, value any, path string, note func(string), remove bool) {
	if node == nil {
		return
	}
	switch value := value.(type) {
	case map[string]any:
		isMap := node.fields == nil && node.elem != nil
		for name, content := range value {
			below := join(path, name)
			if isMap {
				below = path + "[]"
			}
			field, known := node.field(name)
			if path == "" && (name == "apiVersion" || name == "kind" || name == "metadata") {
				continue // every server knows them
			}
			if known {
				walk(field, content, below, note, remove)
				continue
			}
			note(below)
			if remove {
				delete(value, name)
			}
		}
	case []any:
		for _, item := range value {
			walk(node.elem, item, path+"[]", note, remove)
		}
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// Lacks is the paths of all fields with a Go type that the server does not know.
func (p *Pruner) Lacks() []string {
	var out []string
	if p != nil {
		p.typed.lacks("", func(path string) { out = append(out, path) })
	}
	slices.Sort(out)
	return slices.Compact(out)
}
