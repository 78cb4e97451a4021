package initialobjects

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/kubernetes/scheme"
)

// Problem is a mistake in one object.
type Problem struct {
	Index         int
	Field, Detail string
}

// most is how many objects there can be: each is held in memory, and watched.
const most = 500

// Check reads objects, as far as they can be without the API that is to take them: fields
// of Kubernetes' own kinds, and names of all. The problems are all there are; with any,
// there are no objects.
func Check(documents []map[string]any) ([]*unstructured.Unstructured, []Problem) {
	if len(documents) > most {
		return nil, []Problem{{Index: most, Detail: fmt.Sprintf("is one more than the %d that there can be", most)}}
	}
	var objects []*unstructured.Unstructured
	var problems []Problem
	seen := map[string]int{}
	for i, document := range documents {
		object, data, err := copyOf(document)
		if err != nil {
			problems = append(problems, Problem{i, "", err.Error()})
			continue
		}
		wrong := head(object)
		if len(wrong) == 0 {
			wrong = body(data)
		}
		id := strings.Join([]string{object.GroupVersionKind().GroupKind().String(), namespaceOf(object), object.GetName()}, "/")
		if first, ok := seen[id]; ok && len(wrong) == 0 {
			wrong = append(wrong, Problem{Detail: fmt.Sprintf("is the same object as [%d]", first)})
		}
		seen[id] = i
		for _, problem := range wrong {
			problems = append(problems, Problem{i, problem.Field, problem.Detail})
		}
		objects = append(objects, object)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return objects, nil
}

// copyOf is a document as the client has objects, and as JSON.
func copyOf(document map[string]any) (*unstructured.Unstructured, []byte, error) {
	data, err := json.Marshal(document)
	if err != nil {
		return nil, nil, err
	}
	out := &unstructured.Unstructured{}
	return out, data, json.Unmarshal(data, &out.Object) // integers stay such
}

// head is what every object must have, and what it must leave to the server.
func head(object *unstructured.Unstructured) []Problem {
	var out []Problem
	require := func(field, value string) {
		if value == "" {
			out = append(out, Problem{Field: field, Detail: "is required"})
		}
	}
	require("apiVersion", object.GetAPIVersion())
	require("kind", object.GetKind())
	if strings.HasSuffix(object.GetKind(), "List") {
		return append(out, Problem{Field: "kind", Detail: fmt.Sprintf("%q: want its items, each as an object of its own", object.GetKind())})
	}
	if _, err := schema.ParseGroupVersion(object.GetAPIVersion()); err != nil {
		out = append(out, Problem{Field: "apiVersion", Detail: err.Error()})
	}
	if object.GetGenerateName() != "" {
		out = append(out, Problem{Field: "metadata.generateName", Detail: "would make a new object at every start: want a name"})
	} else {
		require("metadata.name", object.GetName())
	}
	for _, field := range []string{"uid", "resourceVersion", "managedFields", "creationTimestamp", "deletionTimestamp", "generation"} {
		if value, ok, _ := unstructured.NestedFieldNoCopy(object.Object, "metadata", field); ok && value != nil {
			out = append(out, Problem{Field: "metadata." + field, Detail: "is the server's to say"})
		}
	}
	return out
}

// body reads an object of Kubernetes' own kinds strictly; of others nothing is known yet.
func body(data []byte) []Problem {
	_, _, err := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer().Decode(data, nil, nil)
	strict, isStrict := runtime.AsStrictDecodingError(err)
	switch {
	case err == nil, runtime.IsNotRegisteredError(err), runtime.IsMissingKind(err), runtime.IsMissingVersion(err):
		return nil
	case !isStrict:
		return []Problem{{Detail: err.Error()}}
	}
	var out []Problem
	for _, err := range strict.Errors() {
		reason, field, _ := strings.Cut(err.Error(), ` "`)
		out = append(out, Problem{Field: strings.TrimSuffix(field, `"`), Detail: reason})
	}
	return out
}

// namespaceOf is where an object lands that is of a namespace.
func namespaceOf(object *unstructured.Unstructured) string {
	if namespace := object.GetNamespace(); namespace != "" {
		return namespace
	}
	return "default"
}

// inOrder has what others need before them.
func inOrder(objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	rank := func(object *unstructured.Unstructured) int {
		switch object.GroupVersionKind().GroupKind() {
		case schema.GroupKind{Kind: "Namespace"}:
			return 0
		case schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}:
			return 1
		}
		return 2
	}
	out := slices.Clone(objects)
	slices.SortStableFunc(out, func(a, b *unstructured.Unstructured) int { return rank(a) - rank(b) })
	return out
}
