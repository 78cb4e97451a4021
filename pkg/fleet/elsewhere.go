package fleet

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/deploy"
)

// elsewhere says whether an object of the manifests is in another namespace than the tenant's: the Secrets of its
// kubeconfigs there, and the right to write them. The anchor cannot own those.
func elsewhere(n deploy.Names, object deploy.Object) bool {
	return object.GetNamespace() != "" && object.GetNamespace() != n.Namespace
}

// applyElsewhere makes the RoleBinding of each namespace the owner of its Role: the process, which ends its tenant by
// itself, removes the one and the other follows.
func (f *Fleet) applyElsewhere(ctx context.Context, objects []deploy.Object) error {
	roles := map[string]deploy.Object{} // by namespace
	for _, object := range objects {
		if kindOf(object).name == "Role" {
			roles[object.GetNamespace()] = object
		}
		if kindOf(object).name != "RoleBinding" { // a binding needs its role
			if _, err := f.applyOne(ctx, object, nil); err != nil {
				return err
			}
		}
	}
	for _, object := range objects {
		if kindOf(object).name != "RoleBinding" {
			continue
		}
		made, err := f.bind(ctx, object, nil)
		if err != nil {
			return err
		}
		if role := roles[object.GetNamespace()]; role != nil {
			if _, err := f.applyOne(ctx, role, ownerReference(made.GetAPIVersion(), made.GetKind(), made)); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeElsewhere removes what a tenant has in other namespaces, but for what it keeps. Its configuration tells where
// that is, so this comes before that goes.
func (f *Fleet) removeElsewhere(ctx context.Context, n deploy.Names, keep []config.Kubeconfig) error {
	settings, err := f.host.CoreV1().ConfigMaps(n.Namespace).Get(ctx, n.Config(), metav1.GetOptions{})
	if err != nil {
		return f.failed(fmt.Sprintf("read ConfigMap %q in namespace %q", n.Config(), n.Namespace), optional(err))
	}
	var read config.Config
	if err := yaml.Unmarshal([]byte(settings.Data[deploy.ConfigKey]), &read); err != nil {
		return nil // the process could not read it, either, and has written nothing
	}
	var tasks []func() error
	namespaces, kept := map[string]bool{n.Namespace: true, "": true}, map[config.ObjectRef]bool{}
	for _, entry := range keep {
		namespaces[entry.Secret.Namespace], kept[entry.Secret] = true, true
	}
	for _, entry := range read.Kubeconfigs {
		namespace, name := entry.Secret.Namespace, entry.Secret.Name
		if namespace != "" && namespace != n.Namespace && !kept[entry.Secret] {
			tasks = append(tasks, func() error { return f.removeSecret(ctx, n, namespace, name) })
		}
		if namespaces[namespace] {
			continue
		}
		namespaces[namespace] = true
		tasks = append(tasks, func() error {
			err := f.host.RbacV1().RoleBindings(namespace).Delete(ctx, n.Kubeconfigs(), metav1.DeleteOptions{})
			return f.failed(fmt.Sprintf("delete RoleBinding %q in namespace %q", n.Kubeconfigs(), namespace), gone(err))
		}, func() error {
			err := f.host.RbacV1().Roles(namespace).Delete(ctx, n.Kubeconfigs(), metav1.DeleteOptions{})
			return f.failed(fmt.Sprintf("delete Role %q in namespace %q", n.Kubeconfigs(), namespace), gone(err))
		})
	}
	return concurrently(tasks...)
}

// removeSecret leaves one that is not of this tenant.
func (f *Fleet) removeSecret(ctx context.Context, n deploy.Names, namespace, name string) error {
	secrets := f.host.CoreV1().Secrets(namespace)
	secret, err := secrets.Get(ctx, name, metav1.GetOptions{})
	if err == nil && secret.Annotations[deploy.KubeconfigOfAnnotation] == n.KubeconfigOf() {
		err = secrets.Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &secret.UID}})
	}
	return f.failed(fmt.Sprintf("delete Secret %q in namespace %q", name, namespace), gone(err))
}

// gone forgets that something is not there.
func gone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
