package chart

import (
	"fmt"
	"reflect"
	"strings"

	"sigs.k8s.io/yaml"

	"nestling.dev/nestling/pkg/config"
)

// Shapes say how Go writes a field of the configuration that has its type's zero value, so that the chart writes the
// same file, and the same hash of it: a pod is not replaced because an operator said "false" in so many words.
const (
	// unlessEmpty fields are left out.
	unlessEmpty = "unlessEmpty"
	// unlessNull fields are pointers: false is not the same as nothing.
	unlessNull = "unlessNull"
)

// shapeTemplate defines nestling.shape: by field, one of the words above, the shape of a mapping, or a list of the one
// shape that all items have.
func shapeTemplate() (string, error) {
	shape, err := shapeOf(reflect.TypeFor[config.Config](), "config")
	if err != nil {
		return "", err
	}
	body, err := yaml.Marshal(shape)
	if err != nil {
		return "", fmt.Errorf("write the shape of the configuration: %w", err)
	}
	return "{{- /* " + generated + " */ -}}\n{{- define \"nestling.shape\" -}}\n" + string(body) + "{{- end -}}\n", nil
}

func shapeOf(t reflect.Type, path string) (map[string]any, error) {
	out := map[string]any{}
	for _, field := range fieldsOf(t) {
		if t == reflect.TypeFor[config.Config]() && (field.name == "apiVersion" || field.name == "kind") {
			continue // always written
		}
		path := path + "." + field.name
		var err error
		switch of := field.Type; {
		case !field.omit && !strings.Contains(path, "[]"):
			return nil, fmt.Errorf("%s is written when it is empty: give it omitempty or omitzero", path)
		case !field.omit:
			continue // the schema wants it of every item
		case of.Kind() == reflect.Pointer:
			out[field.name] = unlessNull
		case of.Kind() == reflect.Struct:
			out[field.name], err = shapeOf(of, path)
		case of.Kind() == reflect.Slice && of.Elem().Kind() == reflect.Struct:
			var item any
			item, err = shapeOf(of.Elem(), path+"[]")
			out[field.name] = []any{item}
		case of.Kind() == reflect.Map && of.Elem().Kind() == reflect.Struct:
			return nil, fmt.Errorf("%s is a mapping of structs, which no template knows how to write yet", path)
		default:
			out[field.name] = unlessEmpty
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// field of a struct, as JSON has it.
type field struct {
	reflect.StructField
	name string
	omit bool
}

// fieldsOf are those that are written, embedded ones among them, in their order.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		in := t.Field(i)
		name, flags, _ := strings.Cut(in.Tag.Get("json"), ",")
		switch {
		case in.Anonymous && (name == "" || strings.Contains(flags, "inline")):
			out = append(out, fieldsOf(in.Type)...)
		case in.IsExported() && name != "-" && name != "":
			out = append(out, field{in, name, strings.Contains(flags, "omitempty") || strings.Contains(flags, "omitzero")})
		}
	}
	return out
}
