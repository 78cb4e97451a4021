package explanation

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"nestling.dev/nestling/syncer/explain"
)

// SchemeGroupVersion is that of explanations.
var SchemeGroupVersion = schema.GroupVersion{Group: "nestling.dev", Version: "v1alpha1"}

// Resources of the group.
const (
	Namespaced = "explanations"
	Cluster    = "clusterexplanations"
)

// Name of the explanation of an object.
func Name(gr schema.GroupResource, name string) string { return gr.String() + ":" + name }

// Explanation is one as the API has it.
type Explanation struct {
	metav1.TypeMeta     `json:",inline"`
	metav1.ObjectMeta   `json:"metadata"`
	explain.Explanation `json:",inline"`
}

// DeepCopyObject is of runtime.Object.
func (e *Explanation) DeepCopyObject() runtime.Object { return e.deepCopy() }

func (e *Explanation) deepCopy() *Explanation {
	return &Explanation{TypeMeta: e.TypeMeta, ObjectMeta: *e.ObjectMeta.DeepCopy(), Explanation: *e.Explanation.DeepCopy()}
}

// ClusterExplanation is one of an object that is of no namespace.
type ClusterExplanation struct {
	Explanation `json:",inline"`
}

// DeepCopyObject is of runtime.Object.
func (e *ClusterExplanation) DeepCopyObject() runtime.Object {
	return &ClusterExplanation{Explanation: *e.deepCopy()}
}

// OpenAPIModelName is the name of the type in OpenAPI documents.
func (Explanation) OpenAPIModelName() string { return "dev.nestling.v1alpha1.Explanation" }

// OpenAPIModelName is the name of the type in OpenAPI documents.
func (ClusterExplanation) OpenAPIModelName() string {
	return "dev.nestling.v1alpha1.ClusterExplanation"
}
