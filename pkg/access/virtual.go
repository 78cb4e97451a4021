package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"nestling.dev/nestling/pkg/config"
)

// VirtualLabel is on what is made in the tenant for a kubeconfig: bindings with it that nothing asks for are removed.
const VirtualLabel = "nestling.dev/kubeconfig"

// bindingPrefix, and a hash: a tenant need not know where on the host its kubeconfigs lie.
const bindingPrefix = "nestling:kubeconfig:"

// serviceAccountUser is who a ServiceAccount is to the API.
func serviceAccountUser(ref config.ObjectRef) string {
	return "system:serviceaccount:" + ref.Namespace + ":" + ref.Name
}

// account is the ServiceAccount, made if it is not there.
func (k *Keeper) account(ctx context.Context, ref config.ObjectRef) (*corev1.ServiceAccount, error) {
	accounts := k.virtual.CoreV1().ServiceAccounts(ref.Namespace)
	found, err := accounts.Get(ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		found, err = accounts.Create(ctx, &corev1.ServiceAccount{
			ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name, Labels: virtualLabels()},
		}, metav1.CreateOptions{})
	}
	if err != nil {
		return nil, fmt.Errorf("virtual ServiceAccount %s/%s: %w", ref.Namespace, ref.Name, err)
	}
	return found, nil
}

func virtualLabels() map[string]string { return map[string]string{VirtualLabel: "true"} }

// bindings are those that the entries promise, by namespace and name; a ClusterRoleBinding has no namespace. All are
// RoleBindings here: the two kinds say the same.
func bindings(entries []config.Kubeconfig) map[config.ObjectRef]rbacv1.RoleBinding {
	out := map[config.ObjectRef]rbacv1.RoleBinding{}
	for _, entry := range entries {
		subject := rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: entry.User}
		if ref := entry.ServiceAccount; ref != nil {
			subject = rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: ref.Namespace, Name: ref.Name}
		}
		role := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: entry.ClusterRole}
		namespaces := entry.Namespaces
		switch {
		case entry.Role != "":
			role.Kind, role.Name = "Role", entry.Role
		case entry.ClusterRole == "":
			continue
		case len(namespaces) == 0:
			namespaces = []string{""}
		}
		text, _ := json.Marshal([]any{subject, role}) // structs of strings
		sum := sha256.Sum256(text)
		name := bindingPrefix + hex.EncodeToString(sum[:8])
		for _, namespace := range namespaces {
			out[config.ObjectRef{Namespace: namespace, Name: name}] = rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: virtualLabels()},
				RoleRef:    role, Subjects: []rbacv1.Subject{subject},
			}
		}
	}
	return out
}

// keepBindings makes what is missing or was changed, and removes what nothing asks for.
func (k *Keeper) keepBindings(ctx context.Context) error {
	wanted := bindings(k.opts.Kubeconfigs)
	if len(wanted) == 0 && k.unbound {
		return nil
	}
	found, err := k.boundBindings(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for ref, binding := range found {
		promised, ok := wanted[ref]
		if ok && binding.RoleRef == promised.RoleRef && equality.Semantic.DeepEqual(binding.Subjects, promised.Subjects) {
			delete(wanted, ref)
			continue
		}
		errs = append(errs, k.unbind(ctx, ref))
	}
	for ref, binding := range wanted {
		errs = append(errs, k.bind(ctx, ref, binding))
	}
	err = utilerrors.NewAggregate(errs)
	k.unbound = err == nil
	return err
}

// boundBindings are those of ours in the tenant.
func (k *Keeper) boundBindings(ctx context.Context) (map[config.ObjectRef]rbacv1.RoleBinding, error) {
	selector := metav1.ListOptions{LabelSelector: VirtualLabel}
	everywhere, err := k.virtual.RbacV1().ClusterRoleBindings().List(ctx, selector)
	if err != nil {
		return nil, fmt.Errorf("list virtual ClusterRoleBindings: %w", err)
	}
	somewhere, err := k.virtual.RbacV1().RoleBindings(metav1.NamespaceAll).List(ctx, selector)
	if err != nil {
		return nil, fmt.Errorf("list virtual RoleBindings: %w", err)
	}
	out := map[config.ObjectRef]rbacv1.RoleBinding{}
	for _, binding := range everywhere.Items {
		out[config.ObjectRef{Name: binding.Name}] = rbacv1.RoleBinding{RoleRef: binding.RoleRef, Subjects: binding.Subjects}
	}
	for _, binding := range somewhere.Items {
		out[config.ObjectRef{Namespace: binding.Namespace, Name: binding.Name}] = binding
	}
	return out, nil
}

func (k *Keeper) bind(ctx context.Context, ref config.ObjectRef, binding rbacv1.RoleBinding) error {
	var err error
	if ref.Namespace == "" {
		_, err = k.virtual.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: binding.ObjectMeta, RoleRef: binding.RoleRef, Subjects: binding.Subjects,
		}, metav1.CreateOptions{})
	} else {
		_, err = k.virtual.RbacV1().RoleBindings(ref.Namespace).Create(ctx, &binding, metav1.CreateOptions{})
	}
	if err != nil {
		return fmt.Errorf("bind %s %s in virtual namespace %q: %w", binding.RoleRef.Kind, binding.RoleRef.Name, ref.Namespace, err)
	}
	return nil
}

func (k *Keeper) unbind(ctx context.Context, ref config.ObjectRef) error {
	var err error
	if ref.Namespace == "" {
		err = k.virtual.RbacV1().ClusterRoleBindings().Delete(ctx, ref.Name, metav1.DeleteOptions{})
	} else {
		err = k.virtual.RbacV1().RoleBindings(ref.Namespace).Delete(ctx, ref.Name, metav1.DeleteOptions{})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove binding %s in virtual namespace %q: %w", ref.Name, ref.Namespace, err)
	}
	return nil
}
