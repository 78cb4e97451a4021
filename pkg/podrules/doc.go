// Package podrules are the operator's rules about a tenant's pods: expressions in CEL, as
// in a ValidatingAdmissionPolicy, that are true of a pod that may not run.
//
// An expression knows
//
//	pod         the Pod as its author wants it, without status
//	containers  all of its containers: init, ordinary and ephemeral ones
//	images      all images that the pod pulls: those of its containers and of its volumes
//
// Its names are checked against Kubernetes' types when it is compiled, and it is tried on a
// plain pod: a rule that has a mistake in it never gets as far as a tenant. What it costs
// is limited, and whatever can't be evaluated is refused: a rule that a pod could be made
// to break would be none.
//
// Rules are asked twice: by admission in the tenant's API (pkg/controlplane/podpolicy),
// which answers the user at once, and by the syncer, past which no pod gets to the host.
package podrules
