package schema_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/schema"
)

// document is what Kubernetes v1.34.4 says of a few kinds, without descriptions.
func document(t testing.TB) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/v1.34.4-core-v1.json")
	require.NoError(t, err)
	return text
}

// without takes fields from the types of a document: an even older version.
func without(t testing.TB, text []byte, fields map[string][]string) []byte {
	t.Helper()
	var content map[string]any
	require.NoError(t, json.Unmarshal(text, &content))
	for kind, names := range fields {
		properties, ok, err := unstructured.NestedMap(content, "components", "schemas", kind, "properties")
		require.NoError(t, err)
		require.True(t, ok, kind)
		for _, name := range names {
			require.Contains(t, properties, name)
			delete(properties, name)
		}
		require.NoError(t, unstructured.SetNestedMap(content, properties, "components", "schemas", kind, "properties"))
	}
	out, err := json.Marshal(content)
	require.NoError(t, err)
	return out
}

func parse(t testing.TB, text []byte, kind runtimeschema.GroupVersionKind) *schema.Node {
	t.Helper()
	nodes, err := schema.Parse(text, kind)
	require.NoError(t, err)
	require.Contains(t, nodes, kind)
	return nodes[kind]
}

func core(kind string) runtimeschema.GroupVersionKind {
	return corev1.SchemeGroupVersion.WithKind(kind)
}

// What v1.34 lacks of the types that this program is built with. A new Kubernetes adds
// to it; what is added should be looked at, and is then written here.
func TestWhatAnOlderHostLacks(t *testing.T) {
	t.Parallel()
	text := document(t)
	for kind, test := range map[string]struct {
		example resource.Object
		lacks   []string
	}{
		"Pod":                   {&corev1.Pod{}, []string{"spec.schedulingGroup", "spec.volumes.projected.sources.podCertificate.userAnnotations"}},
		"Service":               {&corev1.Service{}, nil},
		"ConfigMap":             {&corev1.ConfigMap{}, nil},
		"PersistentVolumeClaim": {&corev1.PersistentVolumeClaim{}, nil},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			pruner := schema.NewPruner(test.example, parse(t, text, core(kind)))
			if diff := cmp.Diff(test.lacks, pruner.Lacks()); diff != "" {
				t.Errorf("lacks (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPruneTyped(t *testing.T) {
	t.Parallel()
	text := without(t, document(t), map[string][]string{
		"io.k8s.api.core.v1.ServiceSpec":               {"trafficDistribution", "internalTrafficPolicy"},
		"io.k8s.api.core.v1.ServicePort":               {"appProtocol"},
		"io.k8s.api.core.v1.ConfigMap":                 {"immutable"},
		"io.k8s.api.core.v1.Container":                 {"restartPolicyRules", "resizePolicy"},
		"io.k8s.api.core.v1.EphemeralContainer":        {"resizePolicy"},
		"io.k8s.api.core.v1.VolumeProjection":          {"clusterTrustBundle"},
		"io.k8s.api.core.v1.GRPCAction":                {"service"},
		"io.k8s.api.core.v1.PersistentVolumeClaimSpec": {"volumeAttributesClassName"},
	})
	rules := []corev1.ContainerRestartRule{{Action: corev1.ContainerRestartRuleActionRestart}}
	resize := []corev1.ContainerResizePolicy{{ResourceName: "cpu", RestartPolicy: corev1.NotRequired}}
	for name, test := range map[string]struct {
		kind   string
		object resource.Object
		want   resource.Object
		found  []string
	}{
		"nothing to lose": {
			"Service",
			&corev1.Service{Spec: corev1.ServiceSpec{Type: "ClusterIP"}}, &corev1.Service{Spec: corev1.ServiceSpec{Type: "ClusterIP"}}, nil,
		},
		"fields of the spec, and of elements of a list": {
			"Service",
			&corev1.Service{Spec: corev1.ServiceSpec{TrafficDistribution: new("PreferClose"), Ports: []corev1.ServicePort{{Port: 1, AppProtocol: new("h2c")}, {Port: 2, AppProtocol: new("")}}}},
			&corev1.Service{Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 1}, {Port: 2}}}},
			[]string{"spec.ports[].appProtocol", "spec.trafficDistribution"},
		},
		"a field beside the spec; false behind a pointer is a value": {
			"ConfigMap",
			&corev1.ConfigMap{Immutable: new(false), Data: map[string]string{"a": "b"}},
			&corev1.ConfigMap{Data: map[string]string{"a": "b"}},
			[]string{"immutable"},
		},
		"inlined types: volume sources, ephemeral containers, probes": {
			"Pod",
			&corev1.Pod{Spec: corev1.PodSpec{
				Containers:          []corev1.Container{{Name: "a", RestartPolicyRules: rules, LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 1, Service: new("s")}}}}, {Name: "b"}},
				InitContainers:      []corev1.Container{{Name: "i", ResizePolicy: resize}},
				EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "e", ResizePolicy: resize}}},
				Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
					{ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{Path: "x"}}, {Secret: &corev1.SecretProjection{}},
				}}}}},
			}},
			&corev1.Pod{Spec: corev1.PodSpec{
				Containers:          []corev1.Container{{Name: "a", LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 1}}}}, {Name: "b"}},
				InitContainers:      []corev1.Container{{Name: "i"}},
				EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "e"}}},
				Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
					{}, {Secret: &corev1.SecretProjection{}},
				}}}}},
			}},
			[]string{
				"spec.containers[].livenessProbe.grpc.service", "spec.containers[].restartPolicyRules", "spec.ephemeralContainers[].resizePolicy",
				"spec.initContainers[].resizePolicy", "spec.volumes[].projected.sources[].clusterTrustBundle",
			},
		},
		"metadata and status are left alone": {
			"PersistentVolumeClaim",
			&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "c", SelfLink: "x"}, Status: corev1.PersistentVolumeClaimStatus{CurrentVolumeAttributesClassName: new("c")}},
			&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "c", SelfLink: "x"}, Status: corev1.PersistentVolumeClaimStatus{CurrentVolumeAttributesClassName: new("c")}},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pruner := schema.NewPruner(test.object, parse(t, text, core(test.kind)))
			before := test.object.DeepCopyObject()
			require.Empty(t, cmp.Diff(test.found, pruner.Find(test.object)))
			got := pruner.Prune(test.object)
			require.Empty(t, cmp.Diff(test.want, got))
			require.Empty(t, cmp.Diff(before, test.object), "objects of caches are not changed")
			if test.found == nil {
				require.Same(t, test.object, got, "and not copied for nothing")
			}
			require.Empty(t, pruner.Find(got))
		})
	}
}

// definition is a CRD's schema as an API server publishes it.
const definition = `{"components": {"schemas": {"org.example.v1.Gadget": {
  "type": "object", "x-kubernetes-group-version-kind": [{"group": "example.org", "version": "v1", "kind": "Gadget"}],
  "properties": {
    "metadata": {"allOf": [{"$ref": "#/components/schemas/ObjectMeta"}]},
    "spec": {"type": "object", "properties": {
      "size": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
      "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"known": {"type": "object", "properties": {"a": {"type": "string"}}}}},
      "any": {"x-kubernetes-preserve-unknown-fields": true},
      "blank": {"type": "object"},
      "labels": {"type": "object", "additionalProperties": {"type": "string"}},
      "parts": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
      "byName": {"type": "object", "additionalProperties": {"type": "object", "properties": {"name": {"type": "string"}}}},
      "template": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object", "properties": {"x": {"type": "integer"}}}}},
      "one": {"type": "object", "oneOf": [{"properties": {"left": {"type": "string"}}}, {"properties": {"right": {"type": "string"}}}]},
      "self": {"$ref": "#/components/schemas/org.example.v1.Tree"}
    }}
  }},
  "org.example.v1.Tree": {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#/components/schemas/org.example.v1.Tree"}}}},
  "ObjectMeta": {"type": "object", "properties": {"name": {"type": "string"}}}
}}}`

func TestPruneCustom(t *testing.T) {
	t.Parallel()
	node := parse(t, []byte(definition), runtimeschema.GroupVersionKind{Group: "example.org", Version: "v1", Kind: "Gadget"})
	for name, test := range map[string]struct {
		spec, want string
		found      []string
	}{
		"what is known": {
			spec: `{"size": 3, "labels": {"a": "b"}, "parts": [{"name": "x"}], "byName": {"k": {"name": "x"}}, "one": {"left": "1", "right": "2"}}`,
			want: `{"size": 3, "labels": {"a": "b"}, "parts": [{"name": "x"}], "byName": {"k": {"name": "x"}}, "one": {"left": "1", "right": "2"}}`,
		},
		"in lists, maps and trees": {
			spec:  `{"new": 1, "parts": [{"name": "x", "new": 1}, {"new": 2}], "byName": {"k": {"new": {"deep": 1}}}, "self": {"children": [{"children": [{"new": 1}]}]}}`,
			want:  `{"parts": [{"name": "x"}, {}], "byName": {"k": {}}, "self": {"children": [{"children": [{}]}]}}`,
			found: []string{"spec.byName[].new", "spec.new", "spec.parts[].new", "spec.self.children[].children[].new"},
		},
		"where anything may be": {
			spec:  `{"free": {"what": {"ever": 1}, "known": {"a": "1", "b": 2}}, "any": {"x": [{"y": 1}]}, "blank": {"x": 1}, "template": {"apiVersion": "v1", "kind": "K", "metadata": {"labels": {"a": "b"}}, "spec": {"x": 1, "y": 2}, "z": 1}}`,
			want:  `{"free": {"what": {"ever": 1}, "known": {"a": "1"}}, "any": {"x": [{"y": 1}]}, "blank": {"x": 1}, "template": {"apiVersion": "v1", "kind": "K", "metadata": {"labels": {"a": "b"}}, "spec": {"x": 1}}}`,
			found: []string{"spec.free.known.b", "spec.template.spec.y", "spec.template.z"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gadget := func(spec string) *unstructured.Unstructured {
				var content map[string]any
				require.NoError(t, json.Unmarshal([]byte(spec), &content))
				return &unstructured.Unstructured{Object: map[string]any{
					"apiVersion": "example.org/v1", "kind": "Gadget", "metadata": map[string]any{"name": "g", "labels": map[string]any{"a": "b"}}, "spec": content,
				}}
			}
			object := gadget(test.spec)
			pruner := schema.NewPruner(object, node)
			require.Empty(t, cmp.Diff(test.found, pruner.Find(object)))
			require.Empty(t, cmp.Diff(gadget(test.want), pruner.Prune(object)))
			require.Empty(t, cmp.Diff(gadget(test.spec), object), "objects of caches are not changed")
		})
	}
}

func TestNothingIsKnown(t *testing.T) {
	t.Parallel()
	require.Nil(t, schema.NewPruner(&corev1.Pod{}, nil))
	var none *schema.Pruner
	pod := &corev1.Pod{}
	require.Same(t, pod, none.Prune(pod))
	nodes, err := schema.Parse([]byte(`{}`), core("Pod"))
	require.NoError(t, err)
	require.Empty(t, nodes)
	_, err = schema.Parse([]byte(`{"components":{"schemas":[]}}`), core("Pod"))
	require.ErrorContains(t, err, "read OpenAPI v3 document")
}
