package explanation

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// definitions are what `kubectl explain` tells of the types.
func definitions(ref common.ReferenceCallback) map[string]common.OpenAPIDefinition {
	return map[string]common.OpenAPIDefinition{
		Explanation{}.OpenAPIModelName():        definition(ref, "Explanation of what became of an object on the host."),
		ClusterExplanation{}.OpenAPIModelName(): definition(ref, "Explanation of what became of an object that is of no namespace."),
	}
}

type properties map[string]spec.Schema

func definition(ref common.ReferenceCallback, description string) common.OpenAPIDefinition {
	stuck := properties{"reason": text("In CamelCase."), "message": text("In a sentence.")}
	top := object(description, properties{
		"apiVersion": text("Version of this representation of an object."),
		"kind":       text("Kind of this object."),
		"metadata":   {SchemaProps: spec.SchemaProps{Description: "The name is RESOURCE[.GROUP]:NAME.", Ref: ref(metav1.ObjectMeta{}.OpenAPIModelName())}},
		"object": object("The object that is explained.", properties{
			"group": text(""), "version": text(""), "resource": text(""), "kind": text(""), "namespace": text(""), "name": text(""), "uid": text(""),
		}),
		"state":   text("Where it stands: Synced, Syncing, Waiting, Refused, Unreachable, Held, Ending, Mirror, Stays or NotSynced."),
		"message": text("The state in a sentence."),
		"stuck":   list("On what it is stuck; empty: on nothing.", object("", stuck)),
		"host": object("What it is on the host; absent: nothing.", properties{
			"namespace": text(""), "name": text(""), "uid": text("Empty: it is not there."), "created": time("When it was made."),
			"answer": object("What the host said to the last write.", properties{
				"taken": truth("Whether it was taken."), "write": text("What was asked: create, patch or delete."), "time": time("When."), "message": text("Why it was refused."),
			}),
		}),
		"changes": list("What was changed on the way, and why.", object("", properties{
			"field": text("Path of the field."), "type": text("Added, Removed or Changed."), "from": text("Value here."), "to": text("Value on the host."),
			"hidden": truth("The values are not shown."), "count": number("How many fields this stands for."), "reason": text("Why."),
		})),
		"status": object("What came back from the host.", properties{
			"time": time("When it came back last."), "phase": text(""), "message": text(""),
			"conditions": list("", object("", properties{"type": text(""), "status": text(""), "reason": text(""), "message": text(""), "since": time("")})),
		}),
		"pods": object("Pods of a workload.", properties{
			"total": number("How many there are."),
			"stuck": list("Some of those that are stuck.", object("", properties{"name": text(""), "state": text(""), "reason": stuck["reason"], "message": stuck["message"]})),
		}),
	})
	return common.OpenAPIDefinition{Schema: top, Dependencies: []string{metav1.ObjectMeta{}.OpenAPIModelName()}}
}

func value(kind, format, description string) spec.Schema {
	return spec.Schema{SchemaProps: spec.SchemaProps{Description: description, Type: []string{kind}, Format: format}}
}

func text(description string) spec.Schema   { return value("string", "", description) }
func time(description string) spec.Schema   { return value("string", "date-time", description) }
func truth(description string) spec.Schema  { return value("boolean", "", description) }
func number(description string) spec.Schema { return value("integer", "int64", description) }

func object(description string, fields properties) spec.Schema {
	out := value("object", "", description)
	out.Properties = fields
	return out
}

func list(description string, of spec.Schema) spec.Schema {
	out := value("array", "", description)
	out.Items = &spec.SchemaOrArray{Schema: &of}
	return out
}
