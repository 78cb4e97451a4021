package deploy

import (
	"bytes"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// YAML returns all objects of a tenant as one stream of documents.
func YAML(o Options) ([]byte, error) {
	objects, err := Objects(o)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for i, object := range objects {
		if i > 0 {
			out.WriteString("---\n")
		}
		document, err := document(object)
		if err != nil {
			return nil, err
		}
		out.Write(document)
	}
	return out.Bytes(), nil
}

// document leaves out what only the server fills in.
func document(object Object) ([]byte, error) {
	content, err := plain(object)
	if err != nil {
		return nil, err
	}
	out, err := yaml.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", object.GetName(), err)
	}
	return out, nil
}

// Content is an object as it is sent to the host: without what only the server fills in.
func Content(object Object) (map[string]any, error) { return plain(object) }

// plain is an object as a person would write it.
func plain(object Object) (map[string]any, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, fmt.Errorf("convert %s: %w", object.GetName(), err)
	}
	trim := func(content map[string]any) {
		unstructured.RemoveNestedField(content, "status")
		unstructured.RemoveNestedField(content, "metadata", "creationTimestamp")
	}
	trim(content)
	unstructured.RemoveNestedField(content, "spec", "updateStrategy") // empty here, and the default
	unstructured.RemoveNestedField(content, "spec", "template", "metadata", "creationTimestamp")
	if claims, found, _ := unstructured.NestedSlice(content, "spec", "volumeClaimTemplates"); found {
		for _, claim := range claims {
			trim(claim.(map[string]any))
		}
		_ = unstructured.SetNestedSlice(content, claims, "spec", "volumeClaimTemplates") // spec is a map: it was just read
	}
	return content, nil
}
