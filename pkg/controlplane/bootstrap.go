package controlplane

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/kubernetes"
	"k8s.io/component-helpers/auth/rbac/reconciliation"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	schedulingv1 "k8s.io/kubernetes/pkg/apis/scheduling/v1"
	rbacrest "k8s.io/kubernetes/pkg/registry/rbac/rest"
	schedulingrest "k8s.io/kubernetes/pkg/registry/scheduling/rest"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
)

// Upstream writes the default RBAC and priority classes in two start hooks that
// first wait for a second, then read and write some 150 objects one after the
// other, and end the process if that does not succeed in 30 s. Everything else
// in the process waits for them.
//
// This hook replaces both: it lists what is there, computes with upstream's own
// code what is missing, and writes only that, side by side, until it succeeds.

// bootstrapHook shows in the health endpoints as poststarthook/<name>.
const bootstrapHook = "nestling/bootstrap-policy"

const (
	// bootstrapWriters is the number of writes side by side; more gains nothing
	// with one disk below.
	bootstrapWriters = 16

	// bootstrapRetry is the time between two attempts.
	bootstrapRetry = 100 * time.Millisecond
)

// clusterPolicy is what is made beside upstream's.
type clusterPolicy struct {
	roles    []rbacv1.ClusterRole
	bindings []rbacv1.ClusterRoleBinding
}

// replaceBootstrap turns off upstream's hooks. It returns ours, which makes some policy
// more, or nil if this server does without RBAC.
func replaceBootstrap(config *app.Config, more clusterPolicy) genericapiserver.PostStartHookFunc {
	disabled := config.KubeAPIs.ControlPlane.Generic.DisabledPostStartHooks
	if disabled.Has(rbacrest.PostStartHookName) {
		return nil
	}
	disabled.Insert(rbacrest.PostStartHookName, schedulingrest.PostStartHookName)

	return func(hook genericapiserver.PostStartHookContext) error {
		client, err := kubernetes.NewForConfig(hook.LoopbackClientConfig)
		if err != nil {
			return fmt.Errorf("client for the default policy: %w", err)
		}
		err = wait.PollUntilContextCancel(hook, bootstrapRetry, true, func(ctx context.Context) (bool, error) {
			if err := ensureDefaultPolicy(ctx, client, more); err != nil {
				klog.FromContext(ctx).Error(err, "Cannot write the default policy yet")
				return false, nil
			}
			return true, nil
		})
		if hook.Err() != nil {
			return nil // the server was stopped
		}
		return err
	}
}

// ensureDefaultPolicy makes what is missing and repairs what is too narrow, as
// an upgrade of Kubernetes may want it. What someone widened stays.
func ensureDefaultPolicy(ctx context.Context, client kubernetes.Interface, more clusterPolicy) error {
	roles, err := listClusterRoles(ctx, client)
	if err != nil {
		return err
	}
	bindings, err := listClusterRoleBindings(ctx, client)
	if err != nil {
		return err
	}

	writers, ctx := errgroup.WithContext(ctx)
	writers.SetLimit(bootstrapWriters)
	reconcileRole := func(role reconciliation.RuleOwner, modifier reconciliation.RuleOwnerModifier) {
		writers.Go(func() error {
			_, err := (&reconciliation.ReconcileRoleOptions{Role: role, Client: modifier, Confirm: true}).Run()
			return describe(err, "role", role.GetNamespace(), role.GetName())
		})
	}
	reconcileBinding := func(binding reconciliation.RoleBinding, modifier reconciliation.RoleBindingModifier) {
		writers.Go(func() error {
			_, err := (&reconciliation.ReconcileRoleBindingOptions{RoleBinding: binding, Client: modifier, Confirm: true}).Run()
			return describe(err, "binding", binding.GetNamespace(), binding.GetName())
		})
	}

	for _, role := range slices.Concat(bootstrappolicy.ClusterRoles(), bootstrappolicy.ControllerRoles(), more.roles) {
		reconcileRole(reconciliation.ClusterRoleRuleOwner{ClusterRole: &role}, roles)
	}
	for _, binding := range slices.Concat(bootstrappolicy.ClusterRoleBindings(), bootstrappolicy.ControllerRoleBindings(), more.bindings) {
		reconcileBinding(reconciliation.ClusterRoleBindingAdapter{ClusterRoleBinding: &binding}, bindings)
	}
	namespaces := client.CoreV1().Namespaces() // made by the modifiers if need be
	namespacedRoles := reconciliation.RoleModifier{Client: client.RbacV1(), NamespaceClient: namespaces}
	namespacedBindings := reconciliation.RoleBindingClientAdapter{Client: client.RbacV1(), NamespaceClient: namespaces}
	for _, roles := range bootstrappolicy.NamespaceRoles() {
		for _, role := range roles {
			reconcileRole(reconciliation.RoleRuleOwner{Role: &role}, namespacedRoles)
		}
	}
	for _, bindings := range bootstrappolicy.NamespaceRoleBindings() {
		for _, binding := range bindings {
			reconcileBinding(reconciliation.RoleBindingAdapter{RoleBinding: &binding}, namespacedBindings)
		}
	}
	dnsRole, dnsSystemRole := dnsRoles()
	dnsBinding, dnsSystemBinding := dnsBindings()
	reconcileRole(reconciliation.ClusterRoleRuleOwner{ClusterRole: dnsRole}, roles)
	reconcileRole(reconciliation.RoleRuleOwner{Role: dnsSystemRole}, namespacedRoles)
	reconcileBinding(reconciliation.ClusterRoleBindingAdapter{ClusterRoleBinding: dnsBinding}, bindings)
	reconcileBinding(reconciliation.RoleBindingAdapter{RoleBinding: dnsSystemBinding}, namespacedBindings)
	writers.Go(func() error { return ensurePriorityClasses(ctx, client) })
	return writers.Wait()
}

func ensurePriorityClasses(ctx context.Context, client kubernetes.Interface) error {
	found, err := client.SchedulingV1().PriorityClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list priority classes: %w", err)
	}
	existing := sets.New[string]()
	for _, class := range found.Items {
		existing.Insert(class.Name)
	}
	for _, class := range schedulingv1.SystemPriorityClasses() {
		if existing.Has(class.Name) {
			continue
		}
		_, err := client.SchedulingV1().PriorityClasses().Create(ctx, class, metav1.CreateOptions{})
		if err := describe(err, "priority class", "", class.Name); err != nil {
			return err
		}
	}
	return nil
}

// describe names the object. One that somebody else has just made is good.
func describe(err error, kind, namespace, name string) error {
	if err == nil || apierrors.IsAlreadyExists(err) {
		return nil
	}
	return fmt.Errorf("%s %s: %w", kind, klog.KRef(namespace, name), err)
}

// listedClusterRoles reads from a list, where upstream would ask for each one.
type listedClusterRoles struct {
	reconciliation.ClusterRoleModifier
	byName map[string]*rbacv1.ClusterRole
}

func listClusterRoles(ctx context.Context, client kubernetes.Interface) (listedClusterRoles, error) {
	found, err := client.RbacV1().ClusterRoles().List(ctx, metav1.ListOptions{})
	if err != nil {
		return listedClusterRoles{}, fmt.Errorf("list cluster roles: %w", err)
	}
	listed := listedClusterRoles{
		ClusterRoleModifier: reconciliation.ClusterRoleModifier{Client: client.RbacV1().ClusterRoles()},
		byName:              map[string]*rbacv1.ClusterRole{},
	}
	for i := range found.Items {
		listed.byName[found.Items[i].Name] = &found.Items[i]
	}
	return listed, nil
}

func (l listedClusterRoles) Get(_, name string) (reconciliation.RuleOwner, error) {
	if role := l.byName[name]; role != nil {
		return reconciliation.ClusterRoleRuleOwner{ClusterRole: role}, nil
	}
	return nil, apierrors.NewNotFound(rbacv1.Resource("clusterroles"), name)
}

// listedClusterRoleBindings is the same for bindings.
type listedClusterRoleBindings struct {
	reconciliation.ClusterRoleBindingClientAdapter
	byName map[string]*rbacv1.ClusterRoleBinding
}

func listClusterRoleBindings(ctx context.Context, client kubernetes.Interface) (listedClusterRoleBindings, error) {
	found, err := client.RbacV1().ClusterRoleBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		return listedClusterRoleBindings{}, fmt.Errorf("list cluster role bindings: %w", err)
	}
	listed := listedClusterRoleBindings{
		ClusterRoleBindingClientAdapter: reconciliation.ClusterRoleBindingClientAdapter{Client: client.RbacV1().ClusterRoleBindings()},
		byName:                          map[string]*rbacv1.ClusterRoleBinding{},
	}
	for i := range found.Items {
		listed.byName[found.Items[i].Name] = &found.Items[i]
	}
	return listed, nil
}

func (l listedClusterRoleBindings) Get(_, name string) (reconciliation.RoleBinding, error) {
	if binding := l.byName[name]; binding != nil {
		return reconciliation.ClusterRoleBindingAdapter{ClusterRoleBinding: binding}, nil
	}
	return nil, apierrors.NewNotFound(rbacv1.Resource("clusterrolebindings"), name)
}
