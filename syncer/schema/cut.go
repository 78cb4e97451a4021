package schema

import (
	"encoding/json"
	"reflect"
	"strings"

	"nestling.dev/nestling/syncer/resource"
)

// cut is the difference between a Go type and what a server knows of it: only the fields
// that the server lacks, and the way to them. It is small, usually nothing at all, and all
// that is kept of a server's documents.
type cut struct {
	fields []cutField
	elem   *cut // of pointers, lists and maps
}

type cutField struct {
	index int
	name  string // as in JSON; empty for an inlined struct
	lack  bool   // the server does not know it
	below *cut
}

// cutOf is nil if the server knows all of the type. Status is the host's own affair, and
// metadata is the same everywhere.
func cutOf(example resource.Object, node *Node) *cut {
	whole := build(reflect.TypeOf(example), node, nil)
	if whole == nil || whole.elem == nil {
		return nil
	}
	top := &cut{}
	for _, field := range whole.elem.fields {
		if field.name != "metadata" && field.name != "status" && field.name != "" {
			top.fields = append(top.fields, field)
		}
	}
	if len(top.fields) == 0 {
		return nil
	}
	return &cut{elem: top}
}

// build compares a type with a node; above are the types on the way, because a type may
// contain itself.
func build(t reflect.Type, node *Node, above []reflect.Type) *cut {
	if node == nil {
		return nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		return through(build(t.Elem(), node, above))
	case reflect.Slice, reflect.Array, reflect.Map:
		return through(build(t.Elem(), node.elem, above))
	case reflect.Struct:
		for _, other := range above {
			if other == t {
				return nil // as deep as anybody goes
			}
		}
		if marshals(t) || node.fields == nil {
			return nil
		}
		return buildStruct(t, node, append(above, t))
	}
	return nil
}

func through(elem *cut) *cut {
	if elem == nil {
		return nil
	}
	return &cut{elem: elem}
}

func buildStruct(t reflect.Type, node *Node, above []reflect.Type) *cut {
	out := &cut{}
	for i := range t.NumField() {
		name, inline, ok := jsonName(t.Field(i))
		switch {
		case !ok:
		case inline:
			if below := buildInline(t.Field(i).Type, node, above); below != nil {
				out.fields = append(out.fields, cutField{index: i, below: below})
			}
		default:
			field, known := node.field(name)
			if !known {
				out.fields = append(out.fields, cutField{index: i, name: name, lack: true})
			} else if below := build(t.Field(i).Type, field, above); below != nil {
				out.fields = append(out.fields, cutField{index: i, name: name, below: below})
			}
		}
	}
	if len(out.fields) == 0 {
		return nil
	}
	return out
}

// buildInline is for a struct whose fields are those of the struct around it.
func buildInline(t reflect.Type, node *Node, above []reflect.Type) *cut {
	if t.Kind() == reflect.Pointer {
		return through(buildInline(t.Elem(), node, above))
	}
	if t.Name() == "TypeMeta" {
		return nil
	}
	return build(t, node, above)
}

func jsonName(field reflect.StructField) (name string, inline, ok bool) {
	if !field.IsExported() {
		return "", false, false
	}
	name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
	switch {
	case name == "-":
		return "", false, false
	case name != "":
		return name, false, true
	case field.Anonymous || options == "inline":
		return "", true, true
	}
	return field.Name, false, true
}

// marshals tells types that write themselves, such as quantities and times: their fields
// are not those of the JSON.
func marshals(t reflect.Type) bool {
	marshaler := reflect.TypeFor[json.Marshaler]()
	return t.Implements(marshaler) || reflect.PointerTo(t).Implements(marshaler)
}

func (c *cut) walkObject(object resource.Object, note func(string), remove bool) {
	c.walk(reflect.ValueOf(object), "", note, remove)
}

// walk notes the set fields that the server lacks, and zeroes them if told.
func (c *cut) walk(value reflect.Value, path string, note func(string), remove bool) {
	if c == nil {
		return
	}
	switch value.Kind() {
	case reflect.Pointer:
		if !value.IsNil() {
			c.elem.walk(value.Elem(), path, note, remove)
		}
	case reflect.Slice, reflect.Array:
		for i := range value.Len() {
			c.elem.walk(value.Index(i), path+"[]", note, remove)
		}
	case reflect.Map:
		for _, key := range value.MapKeys() {
			item := reflect.New(value.Type().Elem()).Elem()
			item.Set(value.MapIndex(key))
			c.elem.walk(item, path+"[]", note, remove)
			if remove {
				value.SetMapIndex(key, item)
			}
		}
	case reflect.Struct:
		for _, field := range c.fields {
			content := value.Field(field.index)
			switch {
			case !field.lack && field.name == "":
				field.below.walk(content, path, note, remove)
			case !field.lack:
				field.below.walk(content, join(path, field.name), note, remove)
			case !empty(content):
				note(join(path, field.name))
				if remove {
					content.SetZero()
				}
			}
		}
	}
}

// empty is what omitempty leaves out; a false or 0 behind a pointer is not.
func empty(value reflect.Value) bool {
	switch value.Kind() {
	case reflect.Slice, reflect.Map:
		return value.Len() == 0
	}
	return value.IsZero()
}

// lacks is the paths of all fields that the server lacks.
func (c *cut) lacks(path string, note func(string)) {
	if c == nil {
		return
	}
	if c.elem != nil {
		c.elem.lacks(path, note)
	}
	for _, field := range c.fields {
		switch {
		case field.lack:
			note(join(path, field.name))
		case field.name == "":
			field.below.lacks(path, note)
		default:
			field.below.lacks(join(path, field.name), note)
		}
	}
}
