package podrules

import (
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	apiservercel "k8s.io/apiserver/pkg/cel"
)

// unbounded is CEL's word for a list or a map that may have any size.
const unbounded = -1

// typesOf makes CEL's types of Go's, as their JSON is. Kubernetes' types do not contain
// themselves.
type typesOf map[reflect.Type]*apiservercel.DeclType

func (t typesOf) of(goType reflect.Type) *apiservercel.DeclType {
	switch goType {
	case reflect.TypeFor[metav1.Time](), reflect.TypeFor[metav1.MicroTime](), reflect.TypeFor[resource.Quantity]():
		return apiservercel.StringType
	case reflect.TypeFor[intstr.IntOrString](), reflect.TypeFor[metav1.FieldsV1]():
		return apiservercel.DynType
	}
	switch goType.Kind() {
	case reflect.Pointer:
		return t.of(goType.Elem())
	case reflect.Bool:
		return apiservercel.BoolType
	case reflect.String:
		return apiservercel.StringType
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return apiservercel.IntType
	case reflect.Slice:
		if goType.Elem().Kind() == reflect.Uint8 {
			return apiservercel.StringType // base64
		}
		return apiservercel.NewListType(t.of(goType.Elem()), unbounded)
	case reflect.Map:
		return apiservercel.NewMapType(apiservercel.StringType, t.of(goType.Elem()), unbounded)
	case reflect.Struct:
		return t.object(goType)
	}
	return apiservercel.DynType
}

func (t typesOf) object(goType reflect.Type) *apiservercel.DeclType {
	if known, ok := t[goType]; ok {
		return known
	}
	fields := map[string]*apiservercel.DeclField{}
	t.fields(goType, fields)
	// CEL tells types by their names alone.
	made := apiservercel.NewObjectType(strings.ReplaceAll(goType.PkgPath(), "/", ".")+"."+goType.Name(), fields)
	t[goType] = made
	return made
}

// fields adds those of a struct, and of the structs that its JSON has among them.
func (t typesOf) fields(goType reflect.Type, to map[string]*apiservercel.DeclField) {
	for i := range goType.NumField() {
		field := goType.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case name == "" && (strings.Contains(options, "inline") || field.Anonymous):
			t.fields(field.Type, to)
		case name != "":
			to[name] = apiservercel.NewDeclField(name, t.of(field.Type), false, nil, nil)
		}
	}
}
