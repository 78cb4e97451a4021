package fleet

import (
	"context"
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"

	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
)

// kind is one kind of objects that a tenant has on its host.
type kind struct {
	schema.GroupVersionResource
	name    string
	cluster bool
}

// ownKinds are those of the control plane, all that any way to install makes; they carry deploy.ControlPlaneLabel. Those
// without which nothing can be done come first: when they are gone, nobody makes more of the rest.
func ownKinds() []kind {
	of := func(group, version, resource, name string) kind {
		return kind{schema.GroupVersionResource{Group: group, Version: version, Resource: resource}, name, false}
	}
	return []kind{
		of("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding"),
		{schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"}, "ClusterRoleBinding", true},
		of("apps", "v1", "statefulsets", "StatefulSet"),
		of("", "v1", "configmaps", "ConfigMap"),
		of("", "v1", "secrets", "Secret"),
		of("", "v1", "services", "Service"),
		of("", "v1", "serviceaccounts", "ServiceAccount"),
		of("rbac.authorization.k8s.io", "v1", "roles", "Role"),
		{schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"}, "ClusterRole", true},
		of("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"),
		of("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy"),
		of("networking.k8s.io", "v1", "ingresses", "Ingress"),
		of("gateway.networking.k8s.io", "v1", "gateways", "Gateway"),
		of("gateway.networking.k8s.io", "v1alpha2", "tlsroutes", "TLSRoute"),
		of("gateway.networking.k8s.io", "v1alpha3", "tlsroutes", "TLSRoute"),
		of("gateway.networking.k8s.io", "v1", "tlsroutes", "TLSRoute"),
		of("monitoring.coreos.com", "v1", "servicemonitors", "ServiceMonitor"),
		of("", "v1", "resourcequotas", "ResourceQuota"),
		of("", "v1", "limitranges", "LimitRange"),
		of("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim"),
		of("", "v1", "pods", "Pod"),
	}
}

// workloadKinds are those of the tenant's own objects on the host; they carry resource.LabelTenant.
func workloadKinds() []kind {
	var out []kind
	for _, synced := range resources.Registry(resources.Options{ServiceAccounts: true, Snapshots: true}) {
		if synced.Direction == resource.ToHost && synced.Namespaced {
			out = append(out, kind{synced.Resource, synced.Name, false})
		}
	}
	return out
}

// item is an object as far as ownership goes.
type item struct {
	kind
	metav1.ObjectMeta
}

func (i item) String() string { return fmt.Sprintf("%s %q", i.kind.name, i.Name) }

// path is how kubectl names it.
func (i item) path() string { return i.Resource + "/" + i.Name }

// of is where objects of a kind are.
func (f *Fleet) of(k kind, namespace string) metadata.ResourceInterface {
	if k.cluster {
		return f.metadata.Resource(k.GroupVersionResource)
	}
	return f.metadata.Resource(k.GroupVersionResource).Namespace(namespace)
}

// list returns all objects of kinds with a label, in the order of the kinds. What the host does not serve, or does not
// let us see, is none.
func (f *Fleet) list(ctx context.Context, namespace, selector string, kinds []kind) ([]item, error) {
	found := make([][]item, len(kinds))
	tasks := make([]func() error, 0, len(kinds))
	for i, k := range kinds {
		tasks = append(tasks, func() error {
			list, err := f.of(k, namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
			if err != nil {
				return f.failed("list "+k.Resource, optional(err))
			}
			for _, object := range list.Items {
				found[i] = append(found[i], item{k, object.ObjectMeta})
			}
			return nil
		})
	}
	if err := concurrently(tasks...); err != nil {
		return nil, err
	}
	var out []item
	seen := map[types.UID]bool{} // one object may be served in several versions
	for _, items := range found {
		for _, one := range items {
			if !seen[one.UID] {
				seen[one.UID] = true
				out = append(out, one)
			}
		}
	}
	return out, nil
}

// everything lists all that a tenant has on the host, its control plane first.
func (f *Fleet) everything(ctx context.Context, tenant, namespace string) (own, workload []item, err error) {
	var secrets []item
	err = concurrently(
		func() (err error) {
			own, err = f.list(ctx, namespace, deploy.ControlPlaneLabel+"="+tenant, ownKinds())
			return err
		},
		func() (err error) {
			workload, err = f.list(ctx, namespace, resource.LabelTenant+"="+tenant, workloadKinds())
			return err
		},
		func() (err error) { secrets, err = f.ownSecrets(ctx, tenant, namespace); return err },
	)
	own = append(own, secrets...)
	// Cluster-wide objects carry the name only, and other namespaces have tenants of that name.
	mine := own[:0]
	seen := map[types.UID]bool{}
	for _, one := range own {
		if (!one.cluster || one.Name == names(tenant, namespace).ClusterRole()) && !seen[one.UID] {
			seen[one.UID] = true
			mine = append(mine, one)
		}
	}
	return mine, workload, err
}

// ownSecrets are those that the process makes, and that bear no label.
func (f *Fleet) ownSecrets(ctx context.Context, tenant, namespace string) ([]item, error) {
	secrets := kind{schema.GroupVersionResource{Version: "v1", Resource: "secrets"}, "Secret", false}
	n := names(tenant, namespace)
	var mu sync.Mutex
	var out []item
	var tasks []func() error
	for _, name := range []string{n.PKI(), n.Kubeconfig()} {
		tasks = append(tasks, func() error {
			secret, err := f.of(secrets, namespace).Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return f.failed(fmt.Sprintf("read Secret %q in namespace %q", name, namespace), optional(err))
			}
			if _, owned := anchorOf(secret.ObjectMeta, n); owned {
				mu.Lock()
				defer mu.Unlock()
				out = append(out, item{secrets, secret.ObjectMeta})
			}
			return nil
		})
	}
	return out, concurrently(tasks...)
}

// anchorOf is the UID of the anchor that owns an object: an earlier tenant's, perhaps.
func anchorOf(object metav1.ObjectMeta, n deploy.Names) (types.UID, bool) {
	for _, owner := range object.OwnerReferences {
		if owner.Kind == "ConfigMap" && owner.Name == n.Anchor() {
			return owner.UID, true
		}
	}
	return "", false
}
