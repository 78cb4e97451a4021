package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"

	"sigs.k8s.io/yaml"

	"nestling.dev/nestling/pkg/config"
)

// Values are Options as a file says them: what `-f` takes, and the values.yaml of the Helm chart, which holds the
// defaults. The tenant's name and namespace are no values: they are arguments, or the release's.
type Values struct {
	// Image is that of the control plane.
	Image string `json:"image"`
	// Ephemeral keeps the data in an emptyDir: it is gone with the pod.
	Ephemeral bool `json:"ephemeral"`
	// Namespaced needs nothing outside the namespace: the tenant sees only the nodes that run its pods.
	Namespaced bool `json:"namespaced"`
	// Storage is the volume, unless ephemeral.
	Storage Storage `json:"storage"`
	// FSGroup owns the volume; -1 leaves it to the platform, as OpenShift wants.
	FSGroup int64 `json:"fsGroup"`
	// Resources are those of the control plane's container.
	Resources Resources `json:"resources"`
	// PodDisruptionBudget is that of the control plane.
	PodDisruptionBudget PodDisruptionBudget `json:"podDisruptionBudget"`
	// ResourceQuota bounds what the host namespace takes, the control plane included; without hard limits there is none.
	ResourceQuota ResourceQuota `json:"resourceQuota"`
	// LimitRange is that of the host namespace, the control plane included; without limits there is none.
	LimitRange LimitRange `json:"limitRange"`
	// NetworkPolicy fences the control plane's pod.
	NetworkPolicy NetworkPolicy `json:"networkPolicy"`
	// ServiceMonitor has Prometheus scrape the control plane; the Prometheus Operator must be on the host.
	ServiceMonitor ServiceMonitor `json:"serviceMonitor"`
	// Config are the tenant's settings, as `nestling serve --config` reads them. What is left out keeps the default of
	// the version that runs.
	Config config.Config `json:"config,omitzero"`
}

// Storage is the volume with the tenant's data.
type Storage struct {
	// Size of the volume.
	Size Amount `json:"size"`
	// ClassName is the storage class; empty is the host's default.
	ClassName string `json:"className"`
	// Keep the volume when the StatefulSet is deleted.
	Keep bool `json:"keep"`
}

// Resources are quantities by the name of a resource, such as memory.
type Resources struct {
	Requests map[string]Amount `json:"requests"`
	Limits   map[string]Amount `json:"limits"`
}

// ResourceQuota is what the host namespace may take.
type ResourceQuota struct {
	// Hard are quantities by what a quota counts, such as pods or requests.memory.
	Hard map[string]Amount `json:"hard"`
}

// LimitRange is what each pod, container or claim of the host namespace may have, and has by default.
type LimitRange struct {
	// Limits are as those of a LimitRange of Kubernetes.
	Limits []LimitRangeItem `json:"limits"`
}

// LimitRangeItem is for one type of objects.
type LimitRangeItem struct {
	// Type is Container, Pod or PersistentVolumeClaim.
	Type                 string            `json:"type"`
	Max                  map[string]Amount `json:"max,omitempty"`
	Min                  map[string]Amount `json:"min,omitempty"`
	Default              map[string]Amount `json:"default,omitempty"`
	DefaultRequest       map[string]Amount `json:"defaultRequest,omitempty"`
	MaxLimitRequestRatio map[string]Amount `json:"maxLimitRequestRatio,omitempty"`
}

// Amount is a quantity as it was written, with quotes or without. Whoever uses it parses it, and can say then where it
// was.
type Amount string

// UnmarshalJSON takes numbers too, as Kubernetes does.
func (a *Amount) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		text = string(data)
	}
	*a = Amount(text)
	return nil
}

// ValuesFile is a file of values that was read.
type ValuesFile struct {
	// Name is for messages.
	Name string
	Data []byte
}

// ReadValues reads files of values over the defaults, each over the ones before, as Helm does: mappings are merged, all
// else is replaced, and null takes away what came before. An error is a *config.Error that names the field.
func ReadValues(files ...ValuesFile) (*Values, error) {
	merged, err := asMap(DefaultValues())
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if err := strict(file.Name, file.Data, &Values{}); err != nil {
			return nil, err
		}
		var content map[string]any
		if err := yaml.Unmarshal(file.Data, &content); err != nil {
			return nil, fmt.Errorf("read %s: %w", file.Name, err)
		}
		merged = merge(merged, content)
	}
	if missing := missing(reflect.TypeFor[Values](), merged, ""); len(missing) > 0 {
		return nil, &config.Error{Of: "values", Problems: missing}
	}
	data, err := yaml.Marshal(merged)
	if err != nil {
		return nil, fmt.Errorf("merge values: %w", err)
	}
	values := &Values{}
	return values, strict("values", data, values)
}

// missing are the fields that have a default, and that a null has taken away.
func missing(t reflect.Type, content map[string]any, path string) []config.Problem {
	var out []config.Problem
	for i := range t.NumField() {
		name, flags, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		value, there := content[name]
		inner, isMap := value.(map[string]any)
		switch {
		case !there && flags == "":
			out = append(out, config.Problem{Field: path + name, Detail: "is required"})
		case isMap && flags == "" && t.Field(i).Type.Kind() == reflect.Struct:
			out = append(out, missing(t.Field(i).Type, inner, path+name+".")...)
		}
	}
	return out
}

// strict calls the fields of values so.
func strict(name string, data []byte, into any) error {
	err := config.Strict(name, data, into)
	if bad, ok := errors.AsType[*config.Error](err); ok {
		bad.Of = "values"
	}
	return err
}

func asMap(value any) (map[string]any, error) {
	data, err := yaml.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("write values: %w", err)
	}
	var out map[string]any
	return out, yaml.Unmarshal(data, &out)
}

// merge returns base with over laid over it.
func merge(base, over map[string]any) map[string]any {
	out := maps.Clone(base)
	if out == nil {
		out = map[string]any{}
	}
	for key, value := range over {
		inner, isMap := value.(map[string]any)
		below, wasMap := out[key].(map[string]any)
		switch {
		case value == nil:
			delete(out, key)
		case isMap && wasMap:
			out[key] = merge(below, inner)
		default:
			out[key] = value
		}
	}
	return out
}
