package leak_test

import (
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
)

// What a field means; doc.go says what each demands.
const (
	classValue      = "value"
	classText       = "text"
	classMessage    = "message"
	classReference  = "reference"
	classNamespace  = "namespace"
	classCluster    = "cluster"
	classKind       = "kind"
	classUID        = "uid"
	classAccount    = "account"
	classFieldPath  = "fieldpath"
	classPods       = "pods"
	classNamespaces = "namespaces"
	classNodes      = "nodes"
	classVolumes    = "volumes"
	classEndpoint   = "endpoint"
	classHandle     = "handle"
	classSaid       = "said"
	classNever      = "never"
)

var classes = []string{
	classValue, classText, classMessage, classReference, classNamespace, classCluster, classKind, classUID, classAccount,
	classFieldPath, classPods, classNamespaces, classNodes, classVolumes, classHandle, classSaid, classEndpoint, classNever,
}

const fieldsFile = "testdata/fields.txt"

// registry is every kind in its widest form.
func registry() []resource.Kind {
	return resources.Registry(resources.Options{AllConfigMaps: true, AllSecrets: true, ServiceAccounts: true})
}

// known is the class of each field, by "group/version.Type.Field".
func known(t require.TestingT) map[string]string {
	data, err := os.ReadFile(fieldsFile)
	require.NoError(t, err)
	out := map[string]string{}
	for line := range strings.Lines(string(data)) {
		name, class, _ := strings.Cut(strings.TrimSpace(line), " ")
		out[name] = class
	}
	return out
}

func TestEveryFieldHasAMeaning(t *testing.T) {
	t.Parallel()
	meanings := known(t)
	found := map[string]reflect.Type{}
	for _, kind := range registry() {
		if !kind.Custom {
			collect(reflect.TypeOf(kind.New()).Elem(), map[reflect.Type]bool{}, found)
		}
	}
	var missing []string
	for name, leaf := range found {
		if meanings[name] == "" {
			missing = append(missing, name+" "+guess(leaf))
		}
	}
	slices.Sort(missing)
	if update := flag.Lookup("update"); update != nil && update.Value.String() == "true" && len(missing) > 0 {
		lines := slices.Clone(missing)
		for name, class := range meanings {
			lines = append(lines, name+" "+class)
		}
		slices.Sort(lines)
		require.NoError(t, os.WriteFile(fieldsFile, []byte(strings.Join(lines, "\n")+"\n"), 0o644))
	}
	for _, field := range missing {
		t.Errorf("nobody has said what this field means, in %s: %s", fieldsFile, field)
	}
	for name, class := range meanings {
		if !slices.Contains(classes, class) {
			t.Errorf("%s: %s has the meaning %q", fieldsFile, name, class)
		}
	}
}

// guess is the line that -update adds: what is no text needs no thought.
func guess(leaf reflect.Type) string {
	if leaf.Kind() == reflect.String || leaf.Kind() == reflect.Slice || leaf == reflect.TypeFor[metav1.LabelSelector]() {
		return "?"
	}
	return classValue
}

// collect finds the fields of t and of the types that it is made of, down to leaves.
func collect(t reflect.Type, seen map[reflect.Type]bool, found map[string]reflect.Type) {
	if seen[t] {
		return
	}
	seen[t] = true
	for i := range t.NumField() {
		field := t.Field(i)
		element := field.Type
		for element.Kind() == reflect.Pointer || element.Kind() == reflect.Map || element.Kind() == reflect.Slice && !isBytes(element) {
			element = element.Elem()
		}
		switch {
		case isMeta(element):
		case isLeaf(element):
			found[fieldName(t, field.Name)] = element
		default:
			collect(element, seen, found)
		}
	}
}

// isMeta is true of metadata, which has rules of its own.
func isMeta(t reflect.Type) bool {
	return t == reflect.TypeFor[metav1.ObjectMeta]() || t == reflect.TypeFor[metav1.TypeMeta]()
}

func isBytes(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
}

// isLeaf is true of types that have one meaning as a whole.
func isLeaf(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[metav1.Time](), reflect.TypeFor[metav1.MicroTime](), reflect.TypeFor[metav1.Duration](),
		reflect.TypeFor[apiresource.Quantity](), reflect.TypeFor[intstr.IntOrString](), reflect.TypeFor[runtime.RawExtension](),
		reflect.TypeFor[metav1.LabelSelector](), reflect.TypeFor[corev1.NodeSelector]():
		return true
	}
	return t.Kind() != reflect.Struct
}

// fieldName is how fields.txt calls a field.
func fieldName(owner reflect.Type, field string) string {
	group := owner.PkgPath()
	for _, prefix := range []string{"k8s.io/api/", "k8s.io/apimachinery/pkg/apis/"} {
		group = strings.TrimPrefix(group, prefix)
	}
	return group + "." + owner.Name() + "." + field
}

// leafVisitor sees a leaf of an object: its field, its class and its value. A field that
// is a list or a map of leaves is one leaf if it selects pods, otherwise each item is one.
type leafVisitor func(field, class string, value reflect.Value)

// walkObject visits every leaf that is set, and every metadata but the object's own.
func walkObject(object any, meanings map[string]string, leaf leafVisitor, meta func(metav1.ObjectMeta)) {
	own := true
	walk(reflect.ValueOf(object).Elem(), meanings, leaf, func(inner metav1.ObjectMeta) {
		if !own { // it is the first field of every kind, after the type
			meta(inner)
		}
		own = false
	})
}

func walk(value reflect.Value, meanings map[string]string, leaf leafVisitor, meta func(metav1.ObjectMeta)) {
	for i := range value.NumField() {
		owner := value.Type()
		name := fieldName(owner, owner.Field(i).Name)
		walkField(value.Field(i), name, meanings, leaf, meta)
	}
}

func walkField(value reflect.Value, name string, meanings map[string]string, leaf leafVisitor, meta func(metav1.ObjectMeta)) {
	t := value.Type()
	switch {
	case t.Kind() == reflect.Pointer:
		if !value.IsNil() {
			walkField(value.Elem(), name, meanings, leaf, meta)
		}
	case t == reflect.TypeFor[metav1.ObjectMeta]():
		meta(value.Interface().(metav1.ObjectMeta))
	case t == reflect.TypeFor[metav1.TypeMeta]():
	case isLeaf(t) && (t.Kind() != reflect.Slice && t.Kind() != reflect.Map || isBytes(t)), t.Kind() == reflect.Map && meanings[name] == classPods:
		leaf(name, meanings[name], value)
	case t.Kind() == reflect.Slice:
		for i := range value.Len() {
			walkField(value.Index(i), name, meanings, leaf, meta)
		}
	case t.Kind() == reflect.Map:
		for _, key := range value.MapKeys() {
			walkField(value.MapIndex(key), name, meanings, leaf, meta)
		}
	default:
		walk(value, meanings, leaf, meta)
	}
}
