package resources

import (
	"math"

	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"nestling.dev/nestling/syncer/resource"
)

// PodDisruptionBudgets go to the host, so that its drains and its preemption spare what
// the tenant wants spared. Evictions in the tenant obey the tenant's own budgets.
//
// Their status is the virtual disruption controller's, and does not come back: it is that
// controller which knows how many pods there should be. The host's can't know, because
// the pods' controllers are not there: of a share of them, or of maxUnavailable, it would
// make nothing. So the host's budget has a number, minAvailable: what the virtual
// controller has computed (status.desiredHealthy), and it follows as that changes.
func PodDisruptionBudgets() resource.Kind {
	return resource.Spec[*policyv1.PodDisruptionBudget]{
		Resource:   policyv1.SchemeGroupVersion.WithResource("poddisruptionbudgets"),
		Kind:       "PodDisruptionBudget",
		Namespaced: true,
		Direction:  resource.ToHost,
		About: resource.About{
			Virtual: "everything, status too; on the host a share is a number of pods",
			Host:    "nothing",
			Default: "all",
		},
		New:     func() *policyv1.PodDisruptionBudget { return &policyv1.PodDisruptionBudget{} },
		Reasons: budgetReasons(),
		Wait:    budgetWait,
		ToHost:  budgetToHost,
		MergeHost: func(_ resource.Env, desired, live *policyv1.PodDisruptionBudget) *policyv1.PodDisruptionBudget {
			out := *live
			out.Spec = desired.Spec
			if out.Spec.MinAvailable == nil {
				out.Spec.MinAvailable = live.Spec.MinAvailable // until the change has been counted
			}
			return &out
		},
	}.Erase()
}

// forbidden is a minAvailable that no number of healthy pods reaches.
const forbidden = math.MaxInt32

func budgetWait(_ resource.Env, virtual *policyv1.PodDisruptionBudget) string {
	if minAvailable(virtual) == nil {
		return "the disruption controller has not counted the pods yet"
	}
	return ""
}

func budgetToHost(env resource.Env, virtual *policyv1.PodDisruptionBudget) (*policyv1.PodDisruptionBudget, error) {
	return &policyv1.PodDisruptionBudget{
		ObjectMeta: resource.HostMeta(env, virtual),
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: minAvailable(virtual),
			// An empty one selects all pods of its namespace, none selects nothing.
			Selector:                   confined(env, virtual.Spec.Selector, inNamespaces(virtual.Namespace)),
			UnhealthyPodEvictionPolicy: virtual.Spec.UnhealthyPodEvictionPolicy,
		},
	}, nil
}

// minAvailable is the number of pods that a budget keeps, nil if it is not known yet.
func minAvailable(virtual *policyv1.PodDisruptionBudget) *intstr.IntOrString {
	spec, status := virtual.Spec, virtual.Status
	switch {
	case spec.MaxUnavailable == nil && spec.MinAvailable == nil:
		return new(intstr.FromInt32(forbidden)) // the API server lets it pass, and no eviction
	case spec.MaxUnavailable == nil && spec.MinAvailable.Type == intstr.Int:
		return spec.MinAvailable
	case failsToCount(virtual):
		return new(intstr.FromInt32(forbidden))
	case status.ObservedGeneration < virtual.Generation:
		return nil
	case status.ExpectedPods <= 0:
		// Of no controller's pods there is no share: evictions here are refused, too.
		return new(intstr.FromInt32(forbidden))
	default:
		return new(intstr.FromInt32(status.DesiredHealthy))
	}
}

// failsToCount tells that evictions here are refused because the number of pods can't be
// found out.
func failsToCount(virtual *policyv1.PodDisruptionBudget) bool {
	condition := meta.FindStatusCondition(virtual.Status.Conditions, policyv1.DisruptionAllowedCondition)
	return condition != nil && condition.Status == metav1.ConditionFalse && condition.Reason == policyv1.SyncFailedReason
}
