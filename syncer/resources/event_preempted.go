package resources

import (
	"strings"

	"nestling.dev/nestling/syncer/resource"
)

// preemptedBy is how the host's scheduler begins to tell a pod who has taken its place; a
// UID follows. (k8s.io/kubernetes/pkg/scheduler/framework/preemption)
const preemptedBy = "Preempted by pod "

// preemption is that message with the UID of the virtual pod, or without one where the
// place went to somebody else's.
func preemption(env resource.Env, message string) string {
	rest, ok := strings.CutPrefix(message, preemptedBy)
	if !ok {
		return message
	}
	uid, rest, _ := strings.Cut(rest, " ")
	for _, host := range env.View.HostList("pods") {
		if string(host.GetUID()) == uid && resource.IsOurs(env, "Pod", host) {
			return preemptedBy + host.GetAnnotations()[resource.AnnotationUID] + " " + rest
		}
	}
	return strings.TrimSpace("Preempted by a pod that is not of this cluster " + rest)
}
