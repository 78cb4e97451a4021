package resources

import (
	corev1 "k8s.io/api/core/v1"

	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
)

// ServiceAccounts go to the host where the operator lets them: platforms give pods an
// identity of the world outside by their ServiceAccount and its annotations. The host ones
// have no rights, no tokens of theirs are mounted, and no Secret goes with them.
func ServiceAccounts() resource.Kind {
	return resource.Spec[*corev1.ServiceAccount]{
		Resource:   corev1.SchemeGroupVersion.WithResource("serviceaccounts"),
		Kind:       "ServiceAccount",
		Namespaced: true,
		Direction:  resource.ToHost,
		NoStatus:   true,
		About: resource.About{
			Virtual: "labels, annotations",
			Host:    "what the platform adds",
			Default: "none; with `sync.serviceAccounts: true` those that a pod runs as",
		},
		Reasons: serviceAccountReasons(),
		New:     func() *corev1.ServiceAccount { return &corev1.ServiceAccount{} },
		Select: func(env resource.Env, virtual *corev1.ServiceAccount) bool {
			return env.View.Referenced("serviceaccounts", resource.KeyOf(virtual))
		},
		ToHost: func(env resource.Env, virtual *corev1.ServiceAccount) (*corev1.ServiceAccount, error) {
			return &corev1.ServiceAccount{ObjectMeta: resource.HostMeta(env, virtual), AutomountServiceAccountToken: new(false)}, nil
		},
		MergeHost: func(_ resource.Env, desired, live *corev1.ServiceAccount) *corev1.ServiceAccount {
			out := *live
			out.AutomountServiceAccountToken = desired.AutomountServiceAccountToken
			return &out
		},
	}.Erase()
}

// hostServiceAccount is who a tenant's pod is on the host. A pod waits for an account of its
// own; while it is being admitted, and the host is asked whether it would take it, the host
// knows that account not yet.
func hostServiceAccount(env resource.Env, virtual *corev1.Pod) string {
	own := naming.Host(env.Tenant, virtual.Namespace, virtual.Spec.ServiceAccountName)
	if env.Policy.ServiceAccounts && env.View.Host("serviceaccounts", own) != nil {
		return own
	}
	return env.WorkloadServiceAccount
}
