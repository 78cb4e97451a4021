package config

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"nestling.dev/nestling/pkg/initialobjects"
)

// initialObjectProblems are those of initialObjects, as far as they can be seen without the API that is to take them.
func (c *Config) initialObjectProblems() []Problem {
	_, wrong := initialobjects.Check(contents(c.InitialObjects))
	var problems []Problem
	for _, object := range wrong {
		problems = append(problems, under(fmt.Sprintf("initialObjects[%d]", object.Index), Problem{object.Field, object.Detail}))
	}
	return problems
}

// Objects are initialObjects, as they are applied.
func (c *completed) Objects() []*unstructured.Unstructured {
	objects, _ := initialobjects.Check(contents(c.InitialObjects)) // they were validated
	return objects
}

func contents(documents []Document) []map[string]any {
	out := make([]map[string]any, 0, len(documents))
	for _, document := range documents {
		out = append(out, document)
	}
	return out
}
