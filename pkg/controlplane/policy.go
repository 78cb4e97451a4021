package controlplane

import (
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DNSUser is who the tenant's DNS is to its API. It may follow what records are made of,
// as upstream's system:coredns may, and keep the Service kube-system/kube-dns.
const DNSUser = "nestling:dns"

// dnsServiceName is that of the Service, and of its EndpointSlice.
const dnsServiceName = "kube-dns"

// dnsRoles are the rights of DNSUser: in all namespaces, and in kube-system.
func dnsRoles() (everywhere *rbacv1.ClusterRole, inSystem *rbacv1.Role) {
	everywhere = &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: DNSUser, Labels: bootstrapLabels()},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"services", "pods", "namespaces"}, Verbs: []string{"list", "watch"}},
			{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: []string{"list", "watch"}},
		},
	}
	keep := []string{"get", "create", "patch", "delete"}
	inSystem = &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: DNSUser, Labels: bootstrapLabels()},
		Rules: []rbacv1.PolicyRule{
			// What is applied is created under its name, so that a name bounds this verb, too.
			{APIGroups: []string{""}, Resources: []string{"services"}, ResourceNames: []string{dnsServiceName}, Verbs: keep},
			{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, ResourceNames: []string{dnsServiceName}, Verbs: keep},
		},
	}
	return everywhere, inSystem
}

// dnsBindings give them to DNSUser.
func dnsBindings() (everywhere *rbacv1.ClusterRoleBinding, inSystem *rbacv1.RoleBinding) {
	subjects := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: DNSUser}}
	everywhere = &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: DNSUser, Labels: bootstrapLabels()},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: DNSUser},
		Subjects:   subjects,
	}
	inSystem = &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: DNSUser, Labels: bootstrapLabels()},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: DNSUser},
		Subjects:   subjects,
	}
	return everywhere, inSystem
}

// bootstrapLabels mark what comes with the cluster.
func bootstrapLabels() map[string]string {
	return map[string]string{"kubernetes.io/bootstrapping": "rbac-defaults"}
}
