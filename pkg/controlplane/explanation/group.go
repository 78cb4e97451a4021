package explanation

import (
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	apirest "k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/controlplane/apigroup"
	"nestling.dev/nestling/syncer/explain"
)

// Source explains objects of this cluster. Its errors are told to the user: they are
// Statuses.
type Source interface {
	// Version in which it wants objects of a resource; false: it does not care.
	Version(gr schema.GroupResource) (string, bool)
	// Explain an object, which was just read.
	Explain(gvr schema.GroupVersionResource, kind string, object *unstructured.Unstructured) (*explain.Explanation, error)
}

// Options of the group.
type Options struct {
	Source Source
	// Loopback connects as the API server itself, which may speak for all users; nil while
	// it does not serve.
	Loopback func() *rest.Config
}

// Group is the API group.
func Group(options Options) apigroup.Group {
	scheme := runtime.NewScheme()
	scheme.AddKnownTypes(SchemeGroupVersion, &Explanation{}, &ClusterExplanation{})
	metav1.AddToGroupVersion(scheme, SchemeGroupVersion)
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	utilruntime.Must(scheme.SetVersionPriority(SchemeGroupVersion))

	info := genericapiserver.NewDefaultAPIGroupInfo(SchemeGroupVersion.Group, scheme, metav1.ParameterCodec, serializer.NewCodecFactory(scheme))
	reader := newReader(options)
	info.VersionedResourcesStorageMap[SchemeGroupVersion.Version] = map[string]apirest.Storage{
		Namespaced: namespaced{reader},
		Cluster:    cluster{reader},
	}
	role, binding := everybody()
	return apigroup.Group{
		Info: info, Scheme: scheme, Definitions: definitions,
		ClusterRoles: []rbacv1.ClusterRole{role}, ClusterRoleBindings: []rbacv1.ClusterRoleBinding{binding},
	}
}

// roleName is that of the role that lets people ask.
const roleName = "nestling:explainer"

// everybody may ask: what they are told of is what they may read.
func everybody() (rbacv1.ClusterRole, rbacv1.ClusterRoleBinding) {
	labels := map[string]string{"kubernetes.io/bootstrapping": "rbac-defaults"}
	role := rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: roleName, Labels: labels},
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{SchemeGroupVersion.Group}, Resources: []string{Namespaced, Cluster}, Verbs: []string{"get"},
		}},
	}
	binding := rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: roleName, Labels: labels},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: roleName},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: user.AllAuthenticated}},
	}
	return role, binding
}
