package resources

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// claims names the claim of each template, which the virtual cluster's controller has
// made, so that the host needs no template and makes no claim of its own. It goes before
// names, which translates what it writes.
func (t *podTranslation) claims() error {
	var unneeded []string
	for i := range t.host.Spec.ResourceClaims {
		claim := &t.host.Spec.ResourceClaims[i]
		if claim.ResourceClaimTemplateName == nil {
			continue
		}
		status := claimStatus(t.virtual, claim.Name)
		switch {
		case status == nil:
			// A pod that is being admitted, of which the host is asked whether it would take it.
		case status.ResourceClaimName == nil:
			unneeded = append(unneeded, claim.Name) // the template was found to ask for nothing
		default:
			claim.ResourceClaimName, claim.ResourceClaimTemplateName = new(*status.ResourceClaimName), nil
		}
	}
	if len(unneeded) == 0 {
		return nil
	}
	t.host.Spec.ResourceClaims = slices.DeleteFunc(t.host.Spec.ResourceClaims, func(claim corev1.PodResourceClaim) bool {
		return slices.Contains(unneeded, claim.Name)
	})
	forEachContainer(&t.host.Spec, func(container *corev1.Container) {
		container.Resources.Claims = slices.DeleteFunc(container.Resources.Claims, func(claim corev1.ResourceClaim) bool {
			return slices.Contains(unneeded, claim.Name)
		})
	})
	return nil
}

// claimsWait is what a pod's claims wait for: those of templates are made by a controller,
// which writes their names into the pod's status.
func claimsWait(virtual *corev1.Pod) string {
	for _, claim := range virtual.Spec.ResourceClaims {
		if claim.ResourceClaimTemplateName != nil && claimStatus(virtual, claim.Name) == nil {
			return fmt.Sprintf("the ResourceClaim of %q is being made from its template", claim.Name)
		}
	}
	return ""
}

func claimStatus(pod *corev1.Pod, name string) *corev1.PodResourceClaimStatus {
	for i := range pod.Status.ResourceClaimStatuses {
		if pod.Status.ResourceClaimStatuses[i].Name == name {
			return &pod.Status.ResourceClaimStatuses[i]
		}
	}
	return nil
}
