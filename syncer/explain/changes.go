package explain

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"nestling.dev/nestling/syncer/resource"
)

const (
	// valueMost bounds what is shown of one value, in bytes.
	valueMost = 512
	// Unexplained is the reason of what no kind changes: what it translates is cut to what
	// an older host knows.
	Unexplained = "the host cluster does not know this field"
)

// Changes are the fields in which desired, the translation of virtual, differs from it.
// Status is not compared: it goes the other way.
func Changes(kind resource.Kind, virtual, desired resource.Object) ([]FieldChange, error) {
	from, err := fields(virtual)
	if err != nil {
		return nil, err
	}
	to, err := fields(desired)
	if err != nil {
		return nil, err
	}
	d := differ{reasons: newReasons(kind.Reasons)}
	d.maps(nil, from, to)
	return d.out, nil
}

// fields is an object as JSON has it, without what servers write.
func fields(object resource.Object) (map[string]any, error) {
	content, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("compare %s: %w", object.GetName(), err)
	}
	var out map[string]any
	if err := json.Unmarshal(content, &out); err != nil {
		return nil, fmt.Errorf("compare %s: %w", object.GetName(), err)
	}
	for _, key := range []string{"apiVersion", "kind", "status"} {
		delete(out, key)
	}
	if meta, ok := out["metadata"].(map[string]any); ok {
		for _, key := range []string{
			"uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "selfLink",
		} {
			delete(meta, key)
		}
	}
	return out, nil
}

type differ struct {
	reasons reasons
	out     []FieldChange
}

// compare reports how from became to; nil stands for what is not there.
func (d *differ) compare(at path, from, to any) {
	from, to = present(from), present(to)
	change := resource.Changed
	switch {
	case from == nil && to == nil:
		return
	case from == nil:
		change = resource.Added
	case to == nil:
		change = resource.Removed
	}
	if equal(from, to) {
		return
	}
	reason := d.reasons.find(at, change)
	if reason == nil {
		fromMap, a := from.(map[string]any)
		toMap, b := to.(map[string]any)
		if a && b || (a || b) && keyed(at) {
			d.maps(at, fromMap, toMap)
			return
		}
		fromList, a := from.([]any)
		toList, b := to.([]any)
		if a && b {
			d.lists(at, fromList, toList)
			return
		}
	}
	d.report(at, change, reason, from, to)
}

func (d *differ) maps(at path, from, to map[string]any) {
	keys := slices.Sorted(maps.Keys(from))
	for key := range to {
		if _, both := from[key]; !both {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		name := key
		if keyed(at) || strings.ContainsAny(key, "./[") {
			name = "[" + key + "]"
		}
		d.compare(at.with(name), from[key], to[key])
	}
}

// lists compares elements of one name, where elements have names that translation leaves
// alone, or else of one place.
func (d *differ) lists(at path, from, to []any) {
	if !named(at) {
		for i := range max(len(from), len(to)) {
			d.compare(at.with("["+strconv.Itoa(i)+"]"), element(from, i), element(to, i))
		}
		return
	}
	// From the end: of two variables of one name the author's is the later one.
	rest := slices.Clone(from)
	type pair struct {
		name     string
		from, to any
	}
	var pairs []pair
	for i := len(to) - 1; i >= 0; i-- {
		name := nameOf(to[i])
		p := pair{name: name, to: to[i]}
		for j := len(rest) - 1; j >= 0; j-- {
			if nameOf(rest[j]) == name {
				p.from = rest[j]
				rest = slices.Delete(rest, j, j+1)
				break
			}
		}
		pairs = append(pairs, p)
	}
	slices.Reverse(pairs)
	for _, removed := range rest {
		pairs = append(pairs, pair{name: nameOf(removed), from: removed})
	}
	for _, p := range pairs {
		d.compare(at.with("["+p.name+"]"), p.from, p.to)
	}
}

func (d *differ) report(at path, change resource.ChangeType, reason *resource.Reason, from, to any) {
	out := FieldChange{Field: at.String(), Type: change, Reason: Unexplained, Hidden: true}
	if reason != nil {
		out.Reason, out.Hidden = reason.Why, reason.Hidden
	}
	if !out.Hidden {
		out.From, out.To = text(from), text(to)
		d.out = append(d.out, out)
		return
	}
	// What is not shown is told by the list or map that it is in: names may tell much as well.
	if last := len(at) - 1; reason != nil && last > 0 && strings.HasPrefix(at[last], "[") && strings.HasSuffix(reason.Field, "*]") {
		out.Field = at[:last].String()
		if i := slices.IndexFunc(d.out, func(other FieldChange) bool {
			other.Count = 0
			return other == out
		}); i >= 0 {
			d.out[i].Count = max(d.out[i].Count, 1) + 1
			return
		}
	}
	if elements, ok := to.([]any); ok && from == nil && len(elements) > 1 {
		out.Count = len(elements)
	}
	d.out = append(d.out, out)
}

// keyed reports whether the keys of the map at a path are an author's words.
func keyed(at path) bool {
	if len(at) == 0 {
		return false
	}
	switch at[len(at)-1] {
	case "labels", "annotations", "matchLabels", "nodeSelector", "data", "binaryData":
		return true
	}
	return false
}

// named reports whether the elements of the list at a path are told apart by their names.
func named(at path) bool {
	switch at[len(at)-1] {
	case "initContainers", "containers", "ephemeralContainers", "env", "volumes":
		return true
	case "resourceClaims", "claims":
		return true
	}
	return false
}

func nameOf(element any) string {
	fields, _ := element.(map[string]any)
	name, _ := fields["name"].(string)
	return name
}

func element(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}

// present is nil for what says nothing.
func present(value any) any {
	switch value := value.(type) {
	case map[string]any:
		if len(value) == 0 {
			return nil
		}
	case []any:
		if len(value) == 0 {
			return nil
		}
	case string:
		if value == "" {
			return nil
		}
	}
	return value
}

func equal(a, b any) bool {
	// Both came from JSON, whose maps are written in order.
	left, _ := json.Marshal(a)
	right, _ := json.Marshal(b)
	return string(left) == string(right)
}

func text(value any) string {
	out, ok := value.(string)
	if !ok && value != nil {
		content, _ := json.Marshal(value) // it came from JSON
		out = string(content)
	}
	if len(out) > valueMost {
		out = strings.ToValidUTF8(out[:valueMost], "") + "…"
	}
	return out
}
