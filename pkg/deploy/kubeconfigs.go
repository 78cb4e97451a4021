package deploy

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// KubeconfigOfAnnotation is on every Secret with access to a tenant, as NAMESPACE/TENANT: the process writes no other.
const KubeconfigOfAnnotation = "nestling.dev/kubeconfig-of"

// KubeconfigOf is the value of KubeconfigOfAnnotation.
func (n Names) KubeconfigOf() string { return n.Namespace + "/" + n.Tenant }

// Kubeconfigs is the Role in each other namespace that holds access to the tenant. It bears the tenant's namespace,
// too, because tenants of several namespaces may have theirs there.
func (n Names) Kubeconfigs() string { return n.ClusterRole() }

// kubeconfigs are the Secrets in other namespaces, empty, and the right to fill those and no others in. They come with
// the manifests because a right to create cannot be limited to a name; so they go with them, too.
func kubeconfigs(o Options) []Object {
	secrets := map[string][]string{} // by namespace
	var namespaces []string
	var objects []Object
	for _, k := range o.Config.Kubeconfigs {
		namespace := k.Secret.Namespace
		if namespace == "" || namespace == o.Namespace {
			continue // the process makes it
		}
		if secrets[namespace] == nil {
			namespaces = append(namespaces, namespace)
		}
		secrets[namespace] = append(secrets[namespace], k.Secret.Name)
		meta := o.meta(k.Secret.Name)
		meta.Namespace = namespace
		meta.Annotations = map[string]string{KubeconfigOfAnnotation: o.names().KubeconfigOf()}
		objects = append(objects, &corev1.Secret{TypeMeta: kind("v1", "Secret"), ObjectMeta: meta, Type: corev1.SecretTypeOpaque})
	}
	for _, namespace := range namespaces {
		slices.Sort(secrets[namespace])
		meta := o.meta(o.names().Kubeconfigs())
		meta.Namespace = namespace
		objects = append(objects, kubeconfigRole(meta, secrets[namespace]), &rbacv1.RoleBinding{
			TypeMeta: kind(rbacv1.SchemeGroupVersion.String(), "RoleBinding"), ObjectMeta: meta,
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
			Subjects: subjects(o),
		})
	}
	return objects
}

// kubeconfigRole lets the process remove all that, because it may end its tenant by itself.
func kubeconfigRole(meta metav1.ObjectMeta, secrets []string) *rbacv1.Role {
	return &rbacv1.Role{
		TypeMeta: kind(rbacv1.SchemeGroupVersion.String(), "Role"), ObjectMeta: meta,
		Rules: rulesOf([]HostResource{
			{"", "secrets", verbs("get patch delete"), secrets},
			{rbacv1.GroupName, "rolebindings", verbs("delete"), []string{meta.Name}}, // which `nestling create` made the owner of this
		}),
	}
}
