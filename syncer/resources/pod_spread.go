package resources

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
)

// podController is the label of a host pod that tells pods of one virtual controller
// from others. Its value is made of the controller's UID, which tenants can choose.
const podController = resource.Prefix + "controller"

// spread gives the host pod the scheduler's own default constraints (the System
// defaults of the PodTopologySpread plugin: 3 by node, 5 by zone, never refused). The
// scheduler applies them by itself to the pods of a ReplicaSet or StatefulSet, which it
// finds by their owner; a host pod's owner is the tenant's anchor.
func (t *podTranslation) spread() error {
	owner := metav1.GetControllerOf(t.virtual)
	if owner == nil {
		return nil
	}
	switch owner.Kind {
	case "ReplicaSet", "ReplicationController", "StatefulSet":
	default:
		return nil
	}
	controller := naming.Derived("controller", t.env.Tenant, t.virtual.Namespace, string(owner.UID))
	t.host.Labels[podController] = controller
	spec := &t.host.Spec
	if len(spec.TopologySpreadConstraints) > 0 || spec.NodeName != "" {
		return nil
	}
	for _, byDefault := range []struct {
		key  string
		skew int32
	}{{corev1.LabelHostname, 3}, {corev1.LabelTopologyZone, 5}} {
		spec.TopologySpreadConstraints = append(spec.TopologySpreadConstraints, corev1.TopologySpreadConstraint{
			TopologyKey: byDefault.key, MaxSkew: byDefault.skew, WhenUnsatisfiable: corev1.ScheduleAnyway,
			LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{
				podController: controller, resource.LabelTenant: t.env.Tenant,
			}},
		})
	}
	return nil
}
