package deploy

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// PodDisruptionBudget is that of the control plane, which is one pod. With 1, an eviction is let through: a drain moves
// the pod, and the tenant's API is away for the seconds of a start. That is right where the data is on a volume, and
// the object then only says so to those who ask for one. With 0, every eviction is refused, so that a drain waits until
// the tenant is deleted or its time is over: that is for ephemeral tenants, whose data would be gone with the pod, such
// as those of CI. A pod that is not ready is let go in either case: there is nothing to protect.
type PodDisruptionBudget struct {
	Enabled bool `json:"enabled"`
	// MaxUnavailable is 1 to let drains move the control plane, or 0 to have them wait for the tenant's end.
	MaxUnavailable int32 `json:"maxUnavailable"`
}

func disruptionBudget(o Options) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		TypeMeta: kind(policyv1.SchemeGroupVersion.String(), "PodDisruptionBudget"), ObjectMeta: o.meta(o.Tenant),
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable:             to(intstr.FromInt32(o.PodDisruptionBudget.MaxUnavailable)),
			Selector:                   &metav1.LabelSelector{MatchLabels: map[string]string{ControlPlaneLabel: o.Tenant}},
			UnhealthyPodEvictionPolicy: to(policyv1.AlwaysAllow),
		},
	}
}

// resourceQuota bounds the whole host namespace: the control plane, and other tenants if there are any.
func resourceQuota(o Options) *corev1.ResourceQuota {
	return &corev1.ResourceQuota{
		TypeMeta: kind("v1", "ResourceQuota"), ObjectMeta: o.meta(o.Tenant), Spec: corev1.ResourceQuotaSpec{Hard: o.ResourceQuota},
	}
}

// limitRange holds for every pod of the host namespace, the control plane's among them.
func limitRange(o Options) *corev1.LimitRange {
	return &corev1.LimitRange{TypeMeta: kind("v1", "LimitRange"), ObjectMeta: o.meta(o.Tenant), Spec: corev1.LimitRangeSpec{Limits: o.LimitRange}}
}

// validateNamespace finds what would keep the control plane itself out of its namespace: a quota that counts a request
// or limit lets no pod in that has none.
func (o Options) validateNamespace() error {
	if budget := o.PodDisruptionBudget.MaxUnavailable; o.PodDisruptionBudget.Enabled && (budget < 0 || budget > 1) {
		return fmt.Errorf("podDisruptionBudget.maxUnavailable: %d is neither 0 nor 1: the control plane is one pod", budget)
	}
	for i, item := range o.LimitRange {
		if types := []corev1.LimitType{corev1.LimitTypeContainer, corev1.LimitTypePod, corev1.LimitTypePersistentVolumeClaim}; !slices.Contains(types, item.Type) {
			return fmt.Errorf("limitRange.limits[%d].type: %q is not one of Container, Pod, PersistentVolumeClaim", i, item.Type)
		}
	}
	limits, requests := []corev1.ResourceList{o.Resources.Limits}, []corev1.ResourceList{o.Resources.Requests, o.Resources.Limits}
	for _, item := range o.LimitRange {
		if item.Type == corev1.LimitTypeContainer {
			limits, requests = append(limits, item.Default, item.Max), append(requests, item.Default, item.DefaultRequest, item.Max)
		}
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
		if counts(o.ResourceQuota, "limits."+name) && !slices.ContainsFunc(limits, having(name)) {
			return fmt.Errorf("resources.limits.%s: is required, or a default in limitRange, where resourceQuota.hard counts it", name)
		}
		if (counts(o.ResourceQuota, "requests."+name) || counts(o.ResourceQuota, name)) && !slices.ContainsFunc(requests, having(name)) {
			return fmt.Errorf("resources.requests.%s: is required, or a default in limitRange, where resourceQuota.hard counts it", name)
		}
	}
	return nil
}

func counts(quota corev1.ResourceList, name corev1.ResourceName) bool { return having(name)(quota) }

func having(name corev1.ResourceName) func(corev1.ResourceList) bool {
	return func(list corev1.ResourceList) bool {
		_, ok := list[name]
		return ok
	}
}
