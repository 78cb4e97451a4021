package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"nestling.dev/nestling/pkg/deploy"
)

// apply puts the objects on the host: the anchor, then all that it owns, then the StatefulSet, whose pod needs the rest.
// It returns the StatefulSet.
func (f *Fleet) apply(ctx context.Context, n deploy.Names, objects []deploy.Object, before found) (*appsv1.StatefulSet, error) {
	var anchor, role, binding, clusterRole, clusterBinding, set deploy.Object
	var rest, others []deploy.Object
	for _, object := range objects {
		switch kind := kindOf(object); {
		case elsewhere(n, object):
			others = append(others, object)
		case kind.name == "ConfigMap" && object.GetName() == n.Anchor():
			anchor = object
		case kind.name == "StatefulSet":
			set = object
		case kind.name == "ClusterRole":
			clusterRole = object
		case kind.name == "ClusterRoleBinding":
			clusterBinding = object
		case kind.name == "Role":
			role = object
		case kind.name == "RoleBinding":
			binding = object
		default:
			rest = append(rest, object)
		}
	}
	if anchor == nil || role == nil || binding == nil || set == nil {
		return nil, errors.New("the manifests lack the anchor, the Role, its binding or the StatefulSet")
	}
	if len(before.items) == 0 {
		if err := f.rehearse(ctx, objects); err != nil {
			return nil, err
		}
	}
	made, err := f.applyOne(ctx, anchor, nil)
	if err != nil {
		return nil, err
	}
	owner := ownerReference("v1", "ConfigMap", made)
	tasks := []func() error{
		func() error {
			_, err := f.applyOne(ctx, role, owner)
			if err == nil {
				_, err = f.bind(ctx, binding, owner)
			}
			return err
		},
		func() error { return f.applyClusterWide(ctx, clusterRole, clusterBinding, before) },
		func() error { return f.applyElsewhere(ctx, others) },
	}
	for _, object := range rest {
		tasks = append(tasks, func() error { _, err := f.applyOne(ctx, object, owner); return err })
	}
	if err := concurrently(tasks...); err != nil {
		return nil, err
	}
	if made, err = f.applyOne(ctx, set, owner); err != nil {
		return nil, err
	}
	out := &appsv1.StatefulSet{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(made.Object, out); err != nil {
		return nil, fmt.Errorf("read StatefulSet %q: %w", n.Tenant, err)
	}
	return out, nil
}

// rehearse finds out what the host would refuse, before anything is made. Bindings are left out: who is no administrator
// may only bind what is there.
func (f *Fleet) rehearse(ctx context.Context, objects []deploy.Object) error {
	var tasks []func() error
	for _, object := range objects {
		if k := kindOf(object); k.name != "RoleBinding" && k.name != "ClusterRoleBinding" {
			tasks = append(tasks, func() error {
				_, err := f.applyOne(ctx, object, nil, metav1.DryRunAll)
				return err
			})
		}
	}
	return concurrently(tasks...)
}

// applyClusterWide makes the binding the owner of its role. The role must be there before it is bound: who is no
// administrator may only bind what can be looked at.
func (f *Fleet) applyClusterWide(ctx context.Context, role, binding deploy.Object, before found) error {
	if role == nil || binding == nil {
		return nil
	}
	const apiVersion, kind = "rbac.authorization.k8s.io/v1", "ClusterRoleBinding"
	if bound, ok := before.items[index(kind, "", binding.GetName())]; ok {
		live := &unstructured.Unstructured{}
		live.SetName(bound.Name)
		live.SetUID(bound.UID)
		if _, err := f.applyOne(ctx, role, ownerReference(apiVersion, kind, live)); err != nil {
			return err
		}
		_, err := f.applyOne(ctx, binding, nil)
		return err
	}
	if _, err := f.applyOne(ctx, role, nil); err != nil {
		return err
	}
	made, err := f.bind(ctx, binding, nil)
	if err != nil {
		return err
	}
	_, err = f.applyOne(ctx, role, ownerReference(apiVersion, kind, made))
	return err
}

// bind applies the binding of a role that was applied before. The host's authorizer hears of the role a moment later, and
// until then does not find it, unless the caller may bind anything.
func (f *Fleet) bind(ctx context.Context, binding deploy.Object, owner *metav1.OwnerReference) (*unstructured.Unstructured, error) {
	const patience = 5 * time.Second
	for begin := time.Now(); ; {
		made, err := f.applyOne(ctx, binding, owner)
		if !apierrors.IsNotFound(err) || time.Since(begin) > patience || !pause(ctx, pollInterval/4) {
			return made, err
		}
	}
}

// applyOne applies an object, owned by owner if there is one. It takes fields over that others have set, such as a
// `kubectl apply` of the manifests: the object is the tenant's, as was seen before.
func (f *Fleet) applyOne(ctx context.Context, object deploy.Object, owner *metav1.OwnerReference, dryRun ...string) (*unstructured.Unstructured, error) {
	content, err := deploy.Content(object)
	if err != nil {
		return nil, err
	}
	desired := &unstructured.Unstructured{Object: content}
	if owner != nil {
		desired.SetOwnerReferences([]metav1.OwnerReference{*owner})
	}
	k := kindOf(object)
	var where dynamic.ResourceInterface = f.dynamic.Resource(k.GroupVersionResource)
	place := ""
	if !k.cluster {
		where = f.dynamic.Resource(k.GroupVersionResource).Namespace(object.GetNamespace())
		place = fmt.Sprintf(" in namespace %q", object.GetNamespace())
	}
	made, err := where.Apply(ctx, object.GetName(), desired, metav1.ApplyOptions{FieldManager: FieldManager, Force: true, DryRun: dryRun})
	if err != nil {
		if k.name == "ClusterRole" && apierrors.IsForbidden(err) {
			return nil, fmt.Errorf("%w (a tenant with --namespaced does without)", f.failed(fmt.Sprintf("apply %s %q", k.name, object.GetName()), shorter(err)))
		}
		return nil, f.failed(fmt.Sprintf("apply %s %q%s", k.name, object.GetName(), place), shorter(err))
	}
	return made, nil
}

func ownerReference(apiVersion, kind string, owner interface {
	GetName() string
	GetUID() types.UID
}) *metav1.OwnerReference {
	return &metav1.OwnerReference{APIVersion: apiVersion, Kind: kind, Name: owner.GetName(), UID: owner.GetUID()}
}

// escalation is how Kubernetes refuses to let somebody grant more than they hold. Then it lists every rule.
const escalation = "is attempting to grant RBAC permissions not currently held"

// shorter leaves the list of rules out.
func shorter(err error) error {
	var status *apierrors.StatusError
	if !errors.As(err, &status) || !strings.Contains(status.ErrStatus.Message, escalation) {
		return err
	}
	short := status.ErrStatus
	head, _, _ := strings.Cut(short.Message, escalation)
	short.Message = head + escalation + " (the tenant's own; nestling manifests lists them)"
	return &apierrors.StatusError{ErrStatus: short}
}
