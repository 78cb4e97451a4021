package resources

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/syncer/resource"
)

// virtualConditions are a host object's conditions with their messages in the tenant's words.
func virtualConditions(env resource.Env, virtual resource.Object, host []metav1.Condition) []metav1.Condition {
	out := slices.Clone(host)
	for i := range out {
		out[i].Message = resource.VirtualText(env, virtual.GetNamespace(), resource.NamesOf(env, resource.KeyOf(virtual)), out[i].Message)
	}
	return out
}
