package resources

import (
	networkingv1 "k8s.io/api/networking/v1"

	"nestling.dev/nestling/syncer/resource"
)

// Why translations change what they change, for those who ask what became of an object. A
// test holds them against all golden cases: a field that changes has a reason.

const (
	whyName     = "names another object, which has another name on the host, too"
	whySelector = "on the host it would meet pods of others: it is confined to this cluster's, and to the namespaces that it means"
)

func serviceReasons() []resource.Reason {
	return append(annotationReasons(),
		resource.Reason{Field: "spec.selector", Why: whySelector})
}

// annotationReasons are those of kinds whose annotations controllers of the host read.
func annotationReasons() []resource.Reason {
	var out []resource.Reason
	for key, names := range ingressNames() {
		why := whyName
		if names.form == foreignName {
			why = "names a namespace, and on the host there is one for all of this cluster"
		}
		out = append(out, resource.Reason{Field: "metadata.annotations[" + key + "]", Why: why})
	}
	return out
}

func ingressReasons() []resource.Reason {
	out := annotationReasons()
	for _, backend := range []string{"spec.defaultBackend", "spec.rules[*].http.paths[*].backend"} {
		out = append(out, resource.Reason{Field: backend + ".service.name", Why: whyName}, resource.Reason{Field: backend + ".resource.name", Why: whyName})
	}
	return append(out, resource.Reason{Field: "spec.tls[*].secretName", Why: whyName})
}

func ingressPending(virtual *networkingv1.Ingress) (reason, message string) {
	if len(virtual.Status.LoadBalancer.Ingress) == 0 {
		return "IngressPending", "no Ingress controller of the host has given it an address yet"
	}
	return "", ""
}

func networkPolicyReasons() []resource.Reason {
	out := []resource.Reason{{Field: "spec.podSelector", Why: whySelector}}
	for field, why := range map[string]string{
		"ingress": "this cluster's own API server may go on calling webhooks: on the host it is a pod like others",
		"egress":  "pods may go on asking this cluster's API and DNS: on the host they are pods like others",
	} {
		out = append(out, resource.Reason{Field: "spec." + field, When: resource.Added, Why: why}, resource.Reason{Field: "spec." + field + "[*]", When: resource.Added, Why: why})
	}
	for _, peers := range []string{"spec.ingress[*].from", "spec.egress[*].to"} {
		out = append(out, resource.Reason{Field: peers, Why: whySelector})
	}
	return out
}

func budgetReasons() []resource.Reason {
	const why = "the host does not know how many pods there should be: it is told how many must stay, as it is counted here"
	return []resource.Reason{
		{Field: "spec", When: resource.Added, Why: why}, {Field: "spec.selector", Why: whySelector}, {Field: "spec.minAvailable", Why: why}, {Field: "spec.maxUnavailable", Why: why},
	}
}

func volumeClaimReasons() []resource.Reason {
	var out []resource.Reason
	for _, key := range []string{"pv.kubernetes.io/*", "volume.kubernetes.io/*", "volume.beta.kubernetes.io/*"} {
		out = append(out, resource.Reason{Field: "metadata.annotations[" + key + "]", Why: "a note of the volume controllers: on the host theirs hold"})
	}
	return append(out,
		resource.Reason{Field: "spec.dataSource.name", Why: whyName},
		resource.Reason{Field: "spec.dataSourceRef.name", Why: whyName},
		resource.Reason{Field: "spec.dataSourceRef.namespace", Why: "all that this cluster has on the host is in one namespace there"})
}

func secretReasons() []resource.Reason {
	const why = "controllers of the host would act on this type, with credentials of the host"
	return []resource.Reason{
		{Field: "type", Why: why},
		{Field: "stringData", Why: "the API keeps it in data", Hidden: true},
		{Field: "metadata.labels[kubernetes.io/*]", Why: why}, {Field: "metadata.annotations[kubernetes.io/*]", Why: why},
	}
}

const whyAddresses = "addresses of nodes and of others' pods are left out, and so are names that only this cluster knows"

func endpointsReasons() []resource.Reason {
	return []resource.Reason{
		{Field: "subsets", Why: whyAddresses},
		{Field: "metadata.labels[endpointslice.kubernetes.io/skip-mirror]", Why: "its EndpointSlices go to the host as well: the host need not make its own"},
		{Field: "metadata.annotations[endpoints.kubernetes.io/last-change-trigger-time]", Why: "a note of this cluster's controllers"},
	}
}

func sliceReasons() []resource.Reason {
	return []resource.Reason{
		{Field: "endpoints", Why: whyAddresses},
		{Field: "metadata.labels[kubernetes.io/service-name]", Why: whyName},
		{Field: "metadata.labels[endpointslice.kubernetes.io/managed-by]", Why: "the host's controllers leave alone what others manage"},
	}
}

func serviceAccountReasons() []resource.Reason {
	const why = "tokens are this cluster's own, and no Secret goes with an account"
	return []resource.Reason{
		{Field: "automountServiceAccountToken", Why: why}, {Field: "secrets", Why: why}, {Field: "imagePullSecrets", Why: "pods name the Secrets themselves"},
	}
}

func snapshotReasons() []resource.Reason {
	return []resource.Reason{{Field: "spec.source.persistentVolumeClaimName", Why: whyName}}
}
