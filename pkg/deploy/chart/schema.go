package chart

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/deploy"
)

const module = "nestling.dev/nestling/"

// words are all values of a type of words.
func words() map[reflect.Type][]string {
	return map[reflect.Type][]string{
		reflect.TypeFor[config.Selection]():   texts(config.SelectReferenced, config.SelectAll),
		reflect.TypeFor[config.Unavailable](): texts(config.UnavailableDrop, config.UnavailableReject),
		reflect.TypeFor[config.DataPolicy]():  texts(config.DataDelete, config.DataRetain),
		reflect.TypeFor[config.Mirror]():      texts(config.MirrorAuto, config.MirrorAll, config.MirrorUsed),
		reflect.TypeFor[config.ExposureType](): texts(
			config.ExposeClusterIP, config.ExposeLoadBalancer, config.ExposeNodePort, config.ExposeIngress, config.ExposeGateway),
		reflect.TypeFor[config.KubeconfigFormat](): texts(config.FormatKubeconfig, config.FormatArgoCD, config.FormatFlux),
		reflect.TypeFor[metav1.LabelSelectorOperator](): texts(
			metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn, metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist),
		reflect.TypeFor[corev1.TolerationOperator](): texts(corev1.TolerationOpExists, corev1.TolerationOpEqual),
		reflect.TypeFor[corev1.TaintEffect](): texts(
			corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute),
		reflect.TypeFor[corev1.Protocol](): texts(corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP),
	}
}

// anyWord are types of words that Kubernetes may add to.
func anyWord() []reflect.Type {
	return []reflect.Type{reflect.TypeFor[deploy.Amount](), reflect.TypeFor[string]()}
}

// narrower is what a field takes beyond what its type says: path → part of a schema.
func narrower() map[string]map[string]any {
	return map[string]map[string]any{
		"image":                              {"minLength": 1, "pattern": `^\S+$`},
		"podDisruptionBudget.maxUnavailable": {"enum": []int{0, 1}},
		"limitRange.limits[].type":           {"enum": []string{"Container", "Pod", "PersistentVolumeClaim"}},
		"config.apiVersion":                  {"enum": []string{config.APIVersion}},
		"config.kind":                        {"enum": []string{config.Kind}},
		"config.sync.disabled[]":             {"enum": config.CanDisable()},
	}
}

// quantity is what Kubernetes takes for one, without a sign.
const quantity = `^[0-9.]+([eE][-+]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?$`

// schema is that of the values, as JSON Schema. It is strict: a field that nobody reads is an error.
func (d docs) schema() (map[string]any, error) {
	out, err := d.schemaOf(reflect.TypeFor[deploy.Values](), "")
	if err != nil {
		return nil, err
	}
	out["$schema"] = "http://json-schema.org/draft-07/schema#"
	out["$comment"] = generated
	out["title"] = "Values of a nestling"
	// Helm adds it to the values of a chart that others depend on.
	out["properties"].(map[string]any)["global"] = map[string]any{"type": "object"}
	return out, nil
}

func (d docs) schemaOf(t reflect.Type, path string) (map[string]any, error) {
	out, err := d.plainSchema(t, path)
	if err != nil {
		return nil, err
	}
	for key, value := range narrower()[strings.TrimPrefix(path, ".")] {
		out[key] = value
	}
	return out, nil
}

func (d docs) plainSchema(t reflect.Type, path string) (map[string]any, error) {
	switch t {
	case reflect.TypeFor[deploy.Amount]():
		return map[string]any{"type": []string{"string", "number"}, "minimum": 0, "pattern": quantity}, nil
	case reflect.TypeFor[intstr.IntOrString]():
		return map[string]any{"type": []string{"string", "integer"}}, nil
	case reflect.TypeFor[config.Document]():
		return map[string]any{"type": "object"}, nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		return d.plainSchema(t.Elem(), path)
	case reflect.Bool:
		return map[string]any{"type": "boolean"}, nil
	case reflect.Int, reflect.Int32, reflect.Int64:
		return map[string]any{"type": "integer"}, nil
	case reflect.Float64:
		return map[string]any{"type": "number"}, nil
	case reflect.String:
		if all, ok := words()[t]; ok {
			return map[string]any{"type": "string", "enum": all}, nil
		}
		if !slices.Contains(anyWord(), t) {
			return nil, fmt.Errorf("%s is a %s: say which words it takes", path, t)
		}
		return map[string]any{"type": "string"}, nil
	case reflect.Interface:
		return map[string]any{}, nil
	case reflect.Slice:
		items, err := d.schemaOf(t.Elem(), path+"[]")
		return map[string]any{"type": "array", "items": items}, err
	case reflect.Map:
		values, err := d.schemaOf(t.Elem(), path+".*")
		return map[string]any{"type": "object", "additionalProperties": values}, err
	case reflect.Struct:
		return d.structSchema(t, path)
	}
	return nil, fmt.Errorf("%s is a %s, for which there is no schema yet", path, t)
}

func (d docs) structSchema(t reflect.Type, path string) (map[string]any, error) {
	properties, required := map[string]any{}, []string{}
	for _, field := range fieldsOf(t) {
		property, err := d.schemaOf(field.Type, path+"."+field.name)
		if err != nil {
			return nil, err
		}
		if doc := d.of(t, field); len(doc) > 0 {
			property["description"] = strings.Join(doc, " ")
		}
		properties[field.name] = property
		// Helm leaves a null in place where the chart has no default that it would take away.
		if field.omit && strings.HasPrefix(path, ".config") {
			nullable(property)
		}
		if !field.omit {
			required = append(required, field.name)
		}
	}
	out := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	// Ours must be given, or have defaults, which null would take away.
	if len(required) > 0 && strings.HasPrefix(t.PkgPath(), module) && t != reflect.TypeFor[config.Config]() {
		out["required"] = required
	}
	return out, nil
}

func nullable(property map[string]any) {
	if t, ok := property["type"].(string); ok {
		property["type"] = []string{t, "null"}
	}
	if words, ok := property["enum"].([]string); ok {
		all := make([]any, 0, len(words)+1)
		for _, word := range words {
			all = append(all, word)
		}
		property["enum"] = append(all, nil)
	}
}

func texts[T ~string](all ...T) []string {
	out := make([]string, 0, len(all))
	for _, one := range all {
		out = append(out, string(one))
	}
	return out
}
