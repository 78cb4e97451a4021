package resources

import (
	corev1 "k8s.io/api/core/v1"

	"nestling.dev/nestling/syncer/resource"
)

// whyNodes is for what podTranslation.place does.
const whyNodes = "what this cluster has said of its nodes, by labels, taints or a cordon of its own, the host's scheduler does not see: the host pod names the nodes"

// whyForced is for what podTranslation.forced does.
const whyForced = "this cluster's operator says so for all of its pods"

func podReasons() []resource.Reason {
	out := podMetaReasons()
	for _, containers := range []string{"spec.initContainers", "spec.containers", "spec.ephemeralContainers"} {
		out = append(out, containerReasons(containers+"[*]")...)
	}
	out = append(out, volumeReasons()...)
	for field, why := range map[string]string{
		"enableServiceLinks":           "the variables of Services are set here: kubelet knows those of the host",
		"serviceAccountName":           "on the host it runs as an account without rights; its tokens are this cluster's own",
		"serviceAccount":               "on the host it runs as an account without rights; its tokens are this cluster's own",
		"automountServiceAccountToken": "no token of the host is for a pod of this cluster",
		"hostname":                     "the host name is the pod's name here, not that of the host pod",
		"hostnameOverride":             "the host name is the pod's name here, not that of the host pod",
		"subdomain":                    "kubelet would make a name of the host's domain of it; this cluster's own DNS knows it",
		"setHostnameAsFQDN":            "kubelet would make a name of the host's domain of it",
		"dnsPolicy":                    "ClusterFirst means this cluster's DNS, which is written out",
		"dnsConfig":                    "this cluster's DNS and search path, then what the pod asks for",
		"priority":                     "the host computes it by the class",
		"preemptionPolicy":             "the host computes it by the class",
		"overhead":                     "the host computes it by the class",
		"topologySpreadConstraints[*].labelSelector":  whySelector,
		"topologySpreadConstraints[*].matchLabelKeys": "they are part of the selector already",
		"imagePullSecrets[*].name":                    whyName,
		"schedulingGroup.podGroupName":                whyName,
		"resourceClaims[*].resourceClaimName":         "the claim has another name on the host, and was made of its template here",
		"resourceClaims[*].resourceClaimTemplateName": "the claim has another name on the host, and was made of its template here",
	} {
		out = append(out, resource.Reason{Field: "spec." + field, Why: why})
	}
	for _, field := range []string{"nodeSelector", "nodeSelector[*]"} {
		out = append(out, resource.Reason{Field: "spec." + field, When: resource.Removed, Why: whyNodes})
	}
	for _, field := range []string{"nodeSelector", "nodeSelector[*]", "tolerations", "tolerations[*]"} {
		out = append(out, resource.Reason{Field: "spec." + field, Why: whyForced})
	}
	const spread = "the scheduler spreads the pods of a controller by itself, but on the host it does not see their controller"
	return append(out,
		resource.Reason{Field: "spec.runtimeClassName", Why: "the operator gives its pods this runtime, or offers the handler of this cluster's own class by another class"},
		resource.Reason{Field: "spec.priorityClassName", When: resource.Removed, Why: "the host has no such class, or does not give it to this cluster"},
		resource.Reason{Field: "spec.priorityClassName", Why: whyForced},
		// Terms that select namespaces may list their names, which are not the pod's to tell.
		resource.Reason{Field: "spec.affinity", When: resource.Added, Why: whyNodes},
		resource.Reason{Field: "spec.affinity.nodeAffinity", Why: whyNodes},
		resource.Reason{Field: "spec.affinity.podAffinity", Why: whySelector, Hidden: true},
		resource.Reason{Field: "spec.affinity.podAntiAffinity", Why: whySelector, Hidden: true},
		resource.Reason{Field: "spec.ephemeralContainers", When: resource.Removed, Why: "they are added to a pod that is there: they follow when it is on the host"},
		resource.Reason{Field: "spec.resourceClaims[*]", When: resource.Removed, Why: "its template was found to ask for nothing"},
		resource.Reason{Field: "spec.topologySpreadConstraints", When: resource.Added, Why: spread},
		resource.Reason{Field: "spec.topologySpreadConstraints[*]", When: resource.Added, Why: spread})
}

func podMetaReasons() []resource.Reason {
	return []resource.Reason{
		{Field: "metadata.labels[" + resource.Prefix + "ns-*]", When: resource.Added, Hidden: true,
			Why: "the labels of its namespace: so that what selects namespaces holds on the host, where there is one for all"},
		{Field: "metadata.labels[" + podController + "]", When: resource.Added, Why: "tells the pods of one controller from others, for the scheduler"},
		{Field: "metadata.labels[topology.kubernetes.io/*]", When: resource.Removed, Why: "labels of its node, which the host gives to its pods itself"},
		{Field: "metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]", Hidden: true, Why: "a note of kubectl's, for this cluster only"},
		{Field: "metadata.annotations[*]", When: resource.Removed, Hidden: true,
			Why: "annotations may be 256 KiB: keys under " + resource.Prefix + " go never, and the largest not where downward API volumes need a copy of them"},
	}
}

func containerReasons(container string) []resource.Reason {
	const field = "a field of the pod, which on the host would be the host pod's"
	var out []resource.Reason
	for _, reference := range []string{"env[*].valueFrom.configMapKeyRef", "env[*].valueFrom.secretKeyRef", "envFrom[*].configMapRef", "envFrom[*].secretRef"} {
		out = append(out, resource.Reason{Field: container + "." + reference + ".name", Why: whyName})
	}
	return append(out,
		resource.Reason{Field: container + ".env", When: resource.Added, Hidden: true, Why: "variables of this cluster's Services: kubelet knows those of the host"},
		resource.Reason{Field: container + ".env[*]", When: resource.Added, Hidden: true, Why: "variables of this cluster's Services: kubelet knows those of the host"},
		resource.Reason{Field: container + ".env[*].value", Why: field},
		resource.Reason{Field: container + ".env[*].valueFrom", When: resource.Removed, Why: field},
		resource.Reason{Field: container + ".env[*].valueFrom.fieldRef.fieldPath", Why: "what the pod's own labels and annotations are here is kept in annotations of the host pod"},
		resource.Reason{Field: container + ".resources.claims", When: resource.Removed, Why: "its template was found to ask for nothing"},
		resource.Reason{Field: container + ".resources.claims[*]", When: resource.Removed, Why: "its template was found to ask for nothing"})
}

func volumeReasons() []resource.Reason {
	const (
		volume  = "spec.volumes[*]"
		source  = volume + ".projected.sources[*]"
		tokens  = "a token of this cluster's, which is kept in a Secret on the host and renewed there"
		claim   = "the claim that was made for the volume, by its name on the host"
		own     = "what the pod's own labels, annotations and names are here is kept in annotations of the host pod"
		refName = ".name"
	)
	out := []resource.Reason{
		{Field: volume + ".ephemeral", Why: claim},
		{Field: volume + ".persistentVolumeClaim", When: resource.Added, Why: claim},
		{Field: source + ".serviceAccountToken", When: resource.Removed, Why: tokens},
		{Field: source + ".secret", When: resource.Added, Why: tokens},
		{Field: volume + ".downwardAPI.items[*].fieldRef.fieldPath", Why: own},
		{Field: source + ".downwardAPI.items[*].fieldRef.fieldPath", Why: own},
	}
	for _, reference := range []string{
		"configMap.name", "secret.secretName", "persistentVolumeClaim.claimName", "azureFile.secretName", "glusterfs.endpoints",
		"csi.nodePublishSecretRef.name", "cephfs.secretRef.name", "cinder.secretRef.name", "flexVolume.secretRef.name",
		"iscsi.secretRef.name", "rbd.secretRef.name", "scaleIO.secretRef.name", "storageos.secretRef.name",
		"projected.sources[*].configMap" + refName, "projected.sources[*].secret" + refName,
	} {
		out = append(out, resource.Reason{Field: volume + "." + reference, Why: whyName})
	}
	return out
}

// podPending is what the scheduler or a kubelet says of a pod that does not run.
func podPending(virtual *corev1.Pod) (reason, message string) {
	if virtual.Status.Phase == corev1.PodFailed {
		return or(virtual.Status.Reason, "Failed"), or(virtual.Status.Message, "the pod has failed")
	}
	if scheduled := podCondition(&virtual.Status, corev1.PodScheduled); scheduled != nil && scheduled.Status == corev1.ConditionFalse {
		return or(scheduled.Reason, corev1.PodReasonUnschedulable), or(scheduled.Message, "the host's scheduler finds no node for it")
	}
	for _, statuses := range [][]corev1.ContainerStatus{virtual.Status.InitContainerStatuses, virtual.Status.ContainerStatuses} {
		for _, status := range statuses {
			waiting := status.State.Waiting
			if waiting == nil || waiting.Reason == "ContainerCreating" || waiting.Reason == "PodInitializing" || waiting.Reason == "" {
				continue
			}
			return waiting.Reason, "container " + status.Name + ": " + or(waiting.Message, waiting.Reason)
		}
	}
	return "", ""
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func volumeClaimPending(virtual *corev1.PersistentVolumeClaim) (reason, message string) {
	switch {
	case virtual.Status.Phase == corev1.ClaimLost:
		return "ClaimLost", "the volume that it was bound to is gone"
	case virtual.Status.Phase == corev1.ClaimPending && virtual.Spec.StorageClassName == nil:
		return "ClaimPending", "the host has no volume for it yet, and it names no class"
	case virtual.Status.Phase == corev1.ClaimPending:
		return "ClaimPending", "the host has no volume for it yet: its class may wait for the first pod that uses the claim, or its provisioner is at work"
	}
	return "", ""
}

func servicePending(virtual *corev1.Service) (reason, message string) {
	if virtual.Spec.Type == corev1.ServiceTypeLoadBalancer && len(virtual.Status.LoadBalancer.Ingress) == 0 {
		return "LoadBalancerPending", "the host's load balancer has given it no address yet"
	}
	return "", ""
}
