package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/syncer/resource"
)

const claims = "persistentvolumeclaims"

// kept is a claim that nothing owns: whoever made it so wants it to stay.
func kept(one item) bool {
	return one.Resource == claims && len(one.OwnerReferences) == 0 && one.DeletionTimestamp == nil
}

// keptNames are those of the claims that stay.
func keptNames(items []item) []string {
	var out []string
	for _, one := range items {
		if kept(one) {
			out = append(out, one.Name)
		}
	}
	slices.Sort(out)
	return out
}

// claimsGo says whether the StatefulSet takes its claim with it. Its controller makes itself the claim's owner, but may
// not have come to it yet.
func (f *Fleet) claimsGo(ctx context.Context, n deploy.Names) (bool, error) {
	set, err := f.set(ctx, n)
	if err != nil || set == nil {
		return false, err
	}
	policy := set.Spec.PersistentVolumeClaimRetentionPolicy
	return policy != nil && policy.WhenDeleted == appsv1.DeletePersistentVolumeClaimRetentionPolicyType, nil
}

// set is nil if there is none.
func (f *Fleet) set(ctx context.Context, n deploy.Names) (*appsv1.StatefulSet, error) {
	set, err := f.host.AppsV1().StatefulSets(n.Namespace).Get(ctx, n.Tenant, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && set.Labels[deploy.ControlPlaneLabel] != n.Tenant {
		return nil, nil
	}
	if err != nil {
		return nil, f.failed(fmt.Sprintf("read StatefulSet %q in namespace %q", n.Tenant, n.Namespace), err)
	}
	return set, nil
}

// releaseVolumes takes the owners off all claims of a tenant. The process is stopped before: it would put them back.
func (f *Fleet) releaseVolumes(ctx context.Context, n deploy.Names, p *progress) error {
	set, err := f.set(ctx, n)
	if err != nil {
		return err
	}
	if set != nil {
		spec := map[string]any{"replicas": 0}
		if len(set.Spec.VolumeClaimTemplates) > 0 {
			spec["persistentVolumeClaimRetentionPolicy"] = map[string]any{"whenDeleted": "Retain", "whenScaled": "Retain"}
		}
		if err := f.patchSet(ctx, n, map[string]any{"spec": spec}); err != nil {
			return err
		}
		p.step("stopping the control plane to release its volumes")
		if err := f.awaitStopped(ctx, n, deploy.ControlPlaneLabel); err != nil {
			return err
		}
	}
	for {
		own, workload, err := f.everything(ctx, n.Tenant, n.Namespace)
		if err != nil {
			return err
		}
		var owned []item
		for _, one := range append(own, workload...) {
			if one.Resource == claims && len(one.OwnerReferences) > 0 && one.DeletionTimestamp == nil {
				owned = append(owned, one)
			}
		}
		if len(owned) == 0 {
			return nil
		}
		var tasks []func() error
		for _, one := range owned {
			tasks = append(tasks, func() error { return f.release(ctx, n, one) })
		}
		if err := concurrently(tasks...); err != nil {
			return err
		}
		if !pause(ctx, pollInterval) {
			return fmt.Errorf("volumes of tenant %q still have owners: %s; nothing was deleted", n.Tenant, blocking(owned))
		}
	}
}

// release takes the owners off one claim.
func (f *Fleet) release(ctx context.Context, n deploy.Names, one item) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": one.UID, "resourceVersion": one.ResourceVersion, "ownerReferences": nil,
	}})
	if err != nil {
		return fmt.Errorf("encode %s: %w", one, err)
	}
	_, err = f.of(one.kind, n.Namespace).Patch(ctx, one.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: FieldManager})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) { // it is looked at again
		return nil
	}
	return f.failed("release "+one.String(), err)
}

func (f *Fleet) patchSet(ctx context.Context, n deploy.Names, change map[string]any) error {
	patch, err := json.Marshal(change)
	if err != nil {
		return fmt.Errorf("encode StatefulSet %q: %w", n.Tenant, err)
	}
	_, err = f.host.AppsV1().StatefulSets(n.Namespace).Patch(ctx, n.Tenant, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: FieldManager})
	return f.failed(fmt.Sprintf("change StatefulSet %q in namespace %q", n.Tenant, n.Namespace), err)
}

// awaitStopped waits until no pod of the tenant is left that has the label: that of the control plane, or of its workload.
func (f *Fleet) awaitStopped(ctx context.Context, n deploy.Names, label string) error {
	for {
		pods, err := f.host.CoreV1().Pods(n.Namespace).List(ctx, metav1.ListOptions{LabelSelector: label + "=" + n.Tenant})
		if err != nil {
			return f.failed(fmt.Sprintf("list pods in namespace %q", n.Namespace), err)
		}
		if len(pods.Items) == 0 {
			return nil
		}
		if !pause(ctx, pollInterval) {
			return fmt.Errorf("pod %q in namespace %q has not ended in time", pods.Items[0].Name, n.Namespace)
		}
	}
}

// claimAdvice is what to do with volumes that stay.
func claimAdvice(n deploy.Names) string {
	return fmt.Sprintf("nestling create %s -n %s takes them back, kubectl -n %s delete pvc -l '%s=%s' and -l '%s=%s' removes them",
		n.Tenant, n.Namespace, n.Namespace, deploy.ControlPlaneLabel, n.Tenant, resource.LabelTenant, n.Tenant)
}
