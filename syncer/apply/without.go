package apply

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"nestling.dev/nestling/syncer/resource"
)

// Without is want without what is at paths, as an API server names them in the causes of
// an error: "status.conditions[2].status". The element of a list that a path leads into is
// left out, so that its neighbours come through; what is in no list, and everything in
// lists if whole, is as live has it, from its first field on. It is false if nothing has
// changed by that. Live and want stay as they are.
func Without(live, want resource.Object, paths []string, whole bool) (resource.Object, bool) {
	before, err := content(live)
	if err != nil {
		return want, false
	}
	after, err := content(want)
	if err != nil {
		return want, false
	}
	original := runtime.DeepCopyJSON(after)
	// From the back: an element that is taken out moves those after it.
	for _, path := range slices.Backward(sorted(paths, whole)) {
		if whole || !removeElement(after, path) {
			revert(before, after, path)
		}
	}
	if reflect.DeepEqual(original, after) {
		return want, false
	}
	if custom, ok := want.(*unstructured.Unstructured); ok {
		out := custom.DeepCopy()
		out.Object = after
		return out, true
	}
	out := reflect.New(reflect.TypeOf(want).Elem()).Interface().(resource.Object)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(after, out); err != nil {
		return want, false
	}
	out.GetObjectKind().SetGroupVersionKind(want.GetObjectKind().GroupVersionKind())
	return out, true
}

func content(object resource.Object) (map[string]any, error) {
	if custom, ok := object.(*unstructured.Unstructured); ok {
		return runtime.DeepCopyJSON(custom.Object), nil
	}
	return runtime.DefaultUnstructuredConverter.ToUnstructured(object)
}

// step is a part of a path: a field or map key, or an index.
type step struct {
	name  string
	index int // -1: a name
}

// steps takes a path apart. What is between brackets is an index if it is a number.
func steps(path string) []step {
	var out []step
	for path != "" {
		switch path[0] {
		case '.':
			path = path[1:]
		case '[':
			inside, rest, _ := strings.Cut(path[1:], "]")
			if index, err := strconv.Atoi(inside); err == nil && index >= 0 {
				out = append(out, step{index: index})
			} else {
				out = append(out, step{name: inside, index: -1})
			}
			path = rest
		default:
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			out = append(out, step{name: path[:end], index: -1})
			path = path[end:]
		}
	}
	return out
}

// sorted by their steps, indices as numbers, each once. What lies within an element of a
// list means that element, unless whole.
func sorted(paths []string, whole bool) [][]step {
	var out [][]step
	for _, path := range paths {
		at := steps(path)
		for !whole && slices.ContainsFunc(at, isIndex) && !isIndex(at[len(at)-1]) {
			at = at[:len(at)-1]
		}
		if len(at) > 1 {
			out = append(out, at)
		}
	}
	slices.SortFunc(out, func(a, b []step) int {
		return slices.CompareFunc(a, b, func(a, b step) int {
			if a.index != b.index {
				return a.index - b.index
			}
			return strings.Compare(a.name, b.name)
		})
	})
	return slices.CompactFunc(out, slices.Equal[[]step])
}

func isIndex(step step) bool { return step.index >= 0 }

// removeElement takes out the element of a list that path ends with. It is false if it
// ends with none, or beyond the list's end.
func removeElement(object map[string]any, path []step) bool {
	last := len(path) - 1
	if !isIndex(path[last]) {
		return false
	}
	var at any = object
	for _, step := range path[:last-1] {
		at = descend(at, step)
	}
	fields, ok := at.(map[string]any)
	if !ok {
		return false
	}
	list, ok := fields[path[last-1].name].([]any)
	if !ok || path[last].index >= len(list) {
		return false
	}
	fields[path[last-1].name] = slices.Delete(slices.Clone(list), path[last].index, path[last].index+1)
	return true
}

func descend(at any, step step) any {
	switch at := at.(type) {
	case map[string]any:
		return at[step.name]
	case []any:
		if isIndex(step) && step.index < len(at) {
			return at[step.index]
		}
	}
	return nil
}

// revert sets the first field below the first step (status.X) as before has it.
func revert(before, after map[string]any, path []step) {
	part, ok := after[path[0].name].(map[string]any)
	if !ok {
		return
	}
	was, _ := before[path[0].name].(map[string]any)
	if value, ok := was[path[1].name]; ok {
		part[path[1].name] = value
	} else {
		delete(part, path[1].name)
	}
}

// Change is what a patch says without its preconditions: the same for two patches that
// want the same of an object.
func Change(patch []byte) []byte {
	var content map[string]any
	if err := json.Unmarshal(patch, &content); err != nil {
		return patch
	}
	unstructured.RemoveNestedField(content, "metadata", "uid")
	unstructured.RemoveNestedField(content, "metadata", "resourceVersion")
	out, err := json.Marshal(content)
	if err != nil {
		return patch
	}
	return out
}

// Paths are the fields that a patch sets or removes, without its preconditions and the
// directions of a strategic merge, sorted.
func Paths(patch []byte) []string {
	var content map[string]any
	if err := json.Unmarshal(Change(patch), &content); err != nil {
		return nil
	}
	var out []string
	collect(content, "", &out)
	slices.Sort(out)
	return slices.Compact(out)
}

func collect(value any, path string, out *[]string) {
	switch value := value.(type) {
	case map[string]any:
		for name, below := range value {
			if strings.HasPrefix(name, "$") {
				continue
			}
			if path == "" {
				collect(below, name, out)
			} else {
				collect(below, path+"."+name, out)
			}
		}
		return
	case []any:
		for _, item := range value {
			if _, ok := item.(map[string]any); ok {
				collect(item, path+"[]", out)
			} else {
				*out = append(*out, path)
			}
		}
		return
	}
	*out = append(*out, path)
}
