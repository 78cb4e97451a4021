package resources

import (
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// A field that Kubernetes adds to pods goes to the host, or comes back, as it is. Whoever
// brings the new version reads this test's difference and decides whether it may: fields
// that name other objects, say who the pod is or hold a generation must be translated.
// go test -update takes the new list.
func TestPodFieldsAreKnown(t *testing.T) {
	t.Parallel()
	const file = "testdata/pods/fields.txt"
	seen := map[reflect.Type]bool{}
	var fields []string
	collectFields(reflect.TypeFor[corev1.PodSpec](), seen, &fields)
	collectFields(reflect.TypeFor[corev1.PodStatus](), seen, &fields)
	slices.Sort(fields)
	got := strings.Join(fields, "\n") + "\n"
	if update := flag.Lookup("update"); update != nil && update.Value.String() == "true" {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("fields of pods (-known +of this version):\n%s", diff)
	}
}

// collectFields lists the fields of every struct of the core API that is part of t.
func collectFields(t reflect.Type, seen map[reflect.Type]bool, fields *[]string) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		collectFields(t.Elem(), seen, fields)
	case reflect.Struct:
		if seen[t] || !strings.HasPrefix(t.PkgPath(), "k8s.io/api/") {
			return
		}
		seen[t] = true
		for i := range t.NumField() {
			*fields = append(*fields, t.Name()+"."+t.Field(i).Name)
			collectFields(t.Field(i).Type, seen, fields)
		}
	}
}
