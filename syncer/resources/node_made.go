package resources

import (
	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/syncer/resource"
)

// nodesOfPods is where a host pod runs: the nodes that there are where the host's own can't
// be read.
func nodesOfPods(host resource.Object) []string {
	if pod, ok := host.(*corev1.Pod); ok && pod.Spec.NodeName != "" {
		return []string{pod.Spec.NodeName}
	}
	return nil
}

// makeNode is what can be known of a host node by the tenant's pods on it; nil where there
// is none. Its capacity is made up: enough for software that wants to see one, and constant,
// since what is free there nobody tells us.
func makeNode(env resource.Env, name string) *corev1.Node {
	var pods []*corev1.Pod
	for _, object := range env.View.HostList("pods") {
		if pod, ok := object.(*corev1.Pod); ok && pod.Spec.NodeName == name {
			pods = append(pods, pod)
		}
	}
	if len(pods) == 0 {
		return nil
	}
	since := pods[0].CreationTimestamp
	var addresses []corev1.NodeAddress
	for _, pod := range pods {
		if pod.CreationTimestamp.Before(&since) {
			since = pod.CreationTimestamp
		}
		if len(pod.Status.HostIPs) > 0 && addresses == nil {
			for _, ip := range pod.Status.HostIPs {
				addresses = append(addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: ip.IP})
			}
		}
	}
	// The pods that were first may have gone.
	if old, ok := env.View.Virtual("nodes", resource.Key{Name: name}).(*corev1.Node); ok && len(old.Status.Conditions) > 0 {
		since = old.Status.Conditions[0].LastTransitionTime
	}
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:              apiresource.MustParse("64"),
		corev1.ResourceMemory:           apiresource.MustParse("256Gi"),
		corev1.ResourceEphemeralStorage: apiresource.MustParse("1Ti"),
		corev1.ResourcePods:             apiresource.MustParse("110"), // kubelet's default
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			corev1.LabelHostname: name,
			corev1.LabelOSStable: "linux",
		}},
		Status: corev1.NodeStatus{
			Capacity: capacity, Allocatable: capacity,
			Addresses: append(addresses, corev1.NodeAddress{Type: corev1.NodeHostName, Address: name}),
			Conditions: []corev1.NodeCondition{{
				Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "RunsPods",
				Message:           "pods of this cluster are on this node; more is not known, since the host does not let its nodes be read",
				LastHeartbeatTime: since, LastTransitionTime: since,
			}},
			NodeInfo: corev1.NodeSystemInfo{OperatingSystem: "linux"},
		},
	}
}
