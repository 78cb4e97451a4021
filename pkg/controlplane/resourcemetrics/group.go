package resourcemetrics

import (
	"context"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/metrics/pkg/apis/metrics"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"
	"sigs.k8s.io/metrics-server/pkg/api/generated/openapi"

	"nestling.dev/nestling/pkg/controlplane/apigroup"
)

// Source knows what pods and nodes use. Errors are told to the user: they are Statuses.
type Source interface {
	// Pods are those of a namespace ("" for all), with the pods' labels, in any order. A pod
	// of which nothing is known yet is missing.
	Pods(ctx context.Context, namespace string) ([]metrics.PodMetrics, error)
	// Nodes are all nodes, with the nodes' labels, in any order.
	Nodes(ctx context.Context) ([]metrics.NodeMetrics, error)
}

// Group is the API group over a source.
func Group(source Source) apigroup.Group {
	scheme := runtime.NewScheme()
	utilruntime.Must(metrics.AddToScheme(scheme))
	utilruntime.Must(v1beta1.AddToScheme(scheme))
	utilruntime.Must(scheme.SetVersionPriority(v1beta1.SchemeGroupVersion))
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})

	info := genericapiserver.NewDefaultAPIGroupInfo(metrics.GroupName, scheme, metav1.ParameterCodec, serializer.NewCodecFactory(scheme))
	info.VersionedResourcesStorageMap[v1beta1.SchemeGroupVersion.Version] = map[string]rest.Storage{
		"pods":  podUsage{source: source},
		"nodes": nodeUsage{source: source},
	}
	return apigroup.Group{Info: info, Scheme: scheme, Definitions: definitions, ClusterRoles: []rbacv1.ClusterRole{reader()}}
}

// reader adds reading usage to what viewers, editors and admins may. It has the name and
// the rules of the one in metrics-server's manifests, so that those find it as they want it.
func reader() rbacv1.ClusterRole {
	labels := map[string]string{}
	for _, role := range []string{"view", "edit", "admin"} {
		labels["rbac.authorization.k8s.io/aggregate-to-"+role] = "true"
	}
	return rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "system:aggregated-metrics-reader", Labels: labels},
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{metrics.GroupName}, Resources: []string{"pods", "nodes"}, Verbs: []string{"get", "list", "watch"},
		}},
	}
}

// definitions are upstream's, without those of the types that every API server has.
func definitions(ref common.ReferenceCallback) map[string]common.OpenAPIDefinition {
	own := strings.TrimSuffix(v1beta1.PodMetrics{}.OpenAPIModelName(), "PodMetrics")
	all := openapi.GetOpenAPIDefinitions(ref)
	for model := range all {
		if !strings.HasPrefix(model, own) {
			delete(all, model)
		}
	}
	return all
}
