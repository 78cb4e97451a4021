package simhost

import (
	"fmt"
	"net"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-base/version"
)

// aliveLabel is on the nodes whose kubelet KWOK plays. Taking it away is how a
// node dies: heartbeats end, and its pods are no longer looked after.
const aliveLabel = "simulated-node/alive"

// NodeName is the name of the node with that number, from 1.
func NodeName(number int) string { return fmt.Sprintf("node-%d", number) }

// node is a node as its kubelet registers it, already Ready.
func node(number, pods int, now metav1.Time) *corev1.Node {
	name := NodeName(number)
	podRange := fmt.Sprintf("10.%d.%d.0/24", 128+number/256, number%256)
	// Small enough for the scheduler, which counts in percent, to see one pod
	// more without requests (it takes 100m for them), and so to spread them.
	resources := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("16"),
		corev1.ResourceMemory:           resource.MustParse("64Gi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("1Ti"),
		corev1.ResourcePods:             *resource.NewQuantity(int64(pods), resource.DecimalSI),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: name,
			Labels: map[string]string{
				aliveLabel:                     "true",
				corev1.LabelHostname:           name,
				corev1.LabelOSStable:           "linux",
				corev1.LabelArchStable:         "amd64",
				corev1.LabelTopologyRegion:     "simulated",
				corev1.LabelTopologyZone:       fmt.Sprintf("simulated-%c", 'a'+(number-1)%3),
				corev1.LabelInstanceTypeStable: "simulated",
			},
		},
		Spec: corev1.NodeSpec{PodCIDR: podRange, PodCIDRs: []string{podRange}},
		Status: corev1.NodeStatus{
			Capacity:    resources,
			Allocatable: resources,
			Conditions:  nodeConditions(nil, now),
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: nodeIP(number).String()},
				{Type: corev1.NodeHostName, Address: name},
			},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: 10250}},
			NodeInfo: corev1.NodeSystemInfo{
				MachineID:               fmt.Sprintf("%032x", number),
				SystemUUID:              fmt.Sprintf("%032x", number),
				BootID:                  fmt.Sprintf("%032x", number),
				Architecture:            "amd64",
				OperatingSystem:         "linux",
				OSImage:                 "simulated",
				KernelVersion:           "simulated",
				ContainerRuntimeVersion: "simulated://1",
				KubeletVersion:          version.Get().GitVersion,
			},
		},
	}
}

// nodeIP is from 198.18.0.0/15, the range set aside for benchmarks (RFC 2544):
// routed nowhere. The API server reaches kubelets by a dialer of its own.
func nodeIP(number int) net.IP {
	return net.IPv4(198, 18, byte(number/256), byte(number%256)).To4()
}

// nodeConditions are a healthy node's. A condition that held before keeps its
// transition time.
func nodeConditions(before []corev1.NodeCondition, now metav1.Time) []corev1.NodeCondition {
	conditions := []corev1.NodeCondition{
		{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasSufficientMemory", Message: "kubelet has sufficient memory available"},
		{Type: corev1.NodeDiskPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasNoDiskPressure", Message: "kubelet has no disk pressure"},
		{Type: corev1.NodePIDPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasSufficientPID", Message: "kubelet has sufficient PID available"},
		{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", Message: "kubelet is posting ready status"},
	}
	for i := range conditions {
		conditions[i].LastHeartbeatTime = now
		conditions[i].LastTransitionTime = now
		for _, old := range before {
			if old.Type == conditions[i].Type && old.Status == conditions[i].Status {
				conditions[i].LastTransitionTime = old.LastTransitionTime
			}
		}
	}
	return conditions
}
