// Package schema knows which fields a server has: a compact tree of field names, made of
// its OpenAPI v3 documents, and what of an object that tree lacks. A host may be older
// than its tenants. It drops fields that it does not know without a word, so that what is
// wanted and what there is would never be equal, and every look at the object a write.
//
// It reads documents and values, and talks to no server.
package schema

import (
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// Node is what a server knows at one place of an object. Nodes are shared and may form
// cycles, as types do.
type Node struct {
	fields map[string]*Node
	elem   *Node // of a list, or of a map's values
	open   bool  // fields that are not listed are kept, too
}

// document is the part of an OpenAPI v3 document that matters here. What it leaves out,
// the paths above all, is most of it, and is not even kept while it is read.
type document struct {
	Components struct {
		Schemas map[string]*spec.Schema `json:"schemas"`
	} `json:"components"`
}

// Parse reads the document of one group and version, and returns the trees of the kinds
// that are asked for and in it.
func Parse(text []byte, kinds ...schema.GroupVersionKind) (map[schema.GroupVersionKind]*Node, error) {
	var in document
	if err := json.Unmarshal(text, &in); err != nil {
		return nil, fmt.Errorf("read OpenAPI v3 document: %w", err)
	}
	wanted := map[schema.GroupVersionKind]bool{}
	for _, kind := range kinds {
		wanted[kind] = true
	}
	p := parser{schemas: in.Components.Schemas, named: map[string]*Node{}}
	out := map[schema.GroupVersionKind]*Node{}
	for name, item := range in.Components.Schemas {
		for _, kind := range kindsOf(item) {
			if wanted[kind] {
				out[kind] = p.component(name)
			}
		}
	}
	return out, nil
}

func kindsOf(item *spec.Schema) []schema.GroupVersionKind {
	list, _ := item.Extensions["x-kubernetes-group-version-kind"].([]any)
	var out []schema.GroupVersionKind
	for _, entry := range list {
		if fields, ok := entry.(map[string]any); ok {
			text := func(key string) string { value, _ := fields[key].(string); return value }
			out = append(out, schema.GroupVersionKind{Group: text("group"), Version: text("version"), Kind: text("kind")})
		}
	}
	return out
}

// parser follows references; named are the components that it has met.
type parser struct {
	schemas map[string]*spec.Schema
	named   map[string]*Node
}

func (p *parser) component(name string) *Node {
	if node, ok := p.named[name]; ok {
		return node
	}
	node := &Node{}
	p.named[name] = node // first: a component may contain itself
	item, ok := p.schemas[name]
	if !ok {
		node.open = true // nothing is known of it
		return node
	}
	p.read(item, node)
	return node
}

func (p *parser) node(item *spec.Schema) *Node {
	if name, ok := reference(item); ok {
		return p.component(name)
	}
	// A reference with a default or a description is wrapped.
	if len(item.AllOf) == 1 && len(item.Properties) == 0 && item.Items == nil && item.AdditionalProperties == nil {
		return p.node(&item.AllOf[0])
	}
	node := &Node{}
	p.read(item, node)
	return node
}

func reference(item *spec.Schema) (string, bool) {
	return strings.CutPrefix(item.Ref.String(), "#/components/schemas/")
}

// read adds to node what item says.
func (p *parser) read(item *spec.Schema, node *Node) {
	if name, ok := reference(item); ok {
		node.include(p.component(name))
		return
	}
	for name, property := range item.Properties {
		if node.fields == nil {
			node.fields = map[string]*Node{}
		}
		node.fields[name] = p.node(&property)
	}
	if item.Items != nil && item.Items.Schema != nil {
		node.elem = p.node(item.Items.Schema)
	}
	if more := item.AdditionalProperties; more != nil {
		switch {
		case more.Schema != nil:
			node.elem = p.node(more.Schema)
		case more.Allows:
			node.open = true
		}
	}
	for _, alternatives := range [][]spec.Schema{item.AllOf, item.AnyOf, item.OneOf} {
		for i := range alternatives {
			node.include(p.node(&alternatives[i]))
		}
	}
	if flag(item, "x-kubernetes-preserve-unknown-fields") || freeForm(item, node) {
		node.open = true
	}
	if flag(item, "x-kubernetes-embedded-resource") {
		// Every object has them, said or not.
		for _, name := range []string{"apiVersion", "kind", "metadata"} {
			if node.fields == nil {
				node.fields = map[string]*Node{}
			}
			if node.fields[name] == nil {
				node.fields[name] = &Node{open: true}
			}
		}
	}
}

// freeForm tells places where anything may be: an object of which nothing is said, or a
// value without a type.
func freeForm(item *spec.Schema, node *Node) bool {
	if node.fields != nil || node.elem != nil {
		return false
	}
	return len(item.Type) == 0 || item.Type.Contains("object") || item.Type.Contains("array")
}

func flag(item *spec.Schema, name string) bool {
	value, _ := item.Extensions.GetBool(name)
	return value
}

// include adds what other knows. That something is open in one of several alternatives
// says nothing if another one lists fields.
func (n *Node) include(other *Node) {
	for name, field := range other.fields {
		if n.fields == nil {
			n.fields = map[string]*Node{}
		}
		if n.fields[name] == nil {
			n.fields[name] = field
		}
	}
	if n.elem == nil {
		n.elem = other.elem
	}
	n.open = n.open || other.open && other.fields == nil
}

// field is what is known of a field; false: the server drops it.
func (n *Node) field(name string) (*Node, bool) {
	if field, ok := n.fields[name]; ok {
		return field, true
	}
	if n.elem != nil && n.fields == nil {
		return n.elem, true // a map
	}
	return nil, n.open || n.fields == nil
}
