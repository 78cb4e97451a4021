package controlplane_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// policyIsChecked is what upstream's controller does, each time anew.
func (p *plane) policyIsChecked(t *testing.T) {
	policies := p.client.AdmissionregistrationV1().ValidatingAdmissionPolicies()
	for name, expression := range map[string]string{"checked-1": "object.spec.replicass > 1", "checked-2": "object.spec.nothing == 1"} {
		_, err := policies.Create(t.Context(), &admissionregistrationv1.ValidatingAdmissionPolicy{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
				MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
					RuleWithOperations: admissionregistrationv1.RuleWithOperations{
						Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
						Rule:       admissionregistrationv1.Rule{APIGroups: []string{"apps"}, APIVersions: []string{"v1"}, Resources: []string{"deployments"}},
					},
				}}},
				Validations: []admissionregistrationv1.Validation{{Expression: expression}},
			},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
		eventually(t, "the warning about a field that there is not", func(ctx context.Context) bool {
			found, err := policies.Get(ctx, name, metav1.GetOptions{})
			return err == nil && found.Status.ObservedGeneration == found.Generation && found.Status.TypeChecking != nil &&
				len(found.Status.TypeChecking.ExpressionWarnings) == 1
		})
		require.NoError(t, policies.Delete(t.Context(), name, metav1.DeleteOptions{}))
	}
}
