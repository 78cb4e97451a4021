package serviceip

import (
	"slices"

	apiservice "k8s.io/kubernetes/pkg/api/service"
	api "k8s.io/kubernetes/pkg/apis/core"
)

// The registry guesses what a user means who gives only some of the addresses. It does
// so after admission (pkg/registry/core/service/storage, v1.36: normalizeClusterIPs and
// patchAllocatedValues, neither exported), so what it will make of the request has to be
// found out here. A test compares both with a real API server.

// normalizeClusterIPs brings the singular and the plural field into line.
func normalizeClusterIPs(wanted, old *api.Service) {
	if old == nil {
		if wanted.Spec.ClusterIP != "" && len(wanted.Spec.ClusterIPs) == 0 {
			wanted.Spec.ClusterIPs = []string{wanted.Spec.ClusterIP}
		}
		return
	}
	same := slices.Equal(wanted.Spec.ClusterIPs, old.Spec.ClusterIPs)
	switch {
	case wanted.Spec.ClusterIP == old.Spec.ClusterIP:
		if len(wanted.Spec.ClusterIPs) == 0 {
			wanted.Spec.ClusterIPs = old.Spec.ClusterIPs
		}
	case !same:
	case wanted.Spec.ClusterIP == "":
		wanted.Spec.ClusterIPs = nil
	default:
		wanted.Spec.ClusterIPs = []string{wanted.Spec.ClusterIP}
	}
}

// keepAllocated fills in the addresses that the user left out and the Service has.
func keepAllocated(wanted, old *api.Service) {
	external := api.ServiceTypeExternalName
	if wanted.Spec.Type != external && old.Spec.Type != external {
		if wanted.Spec.ClusterIP == "" {
			wanted.Spec.ClusterIP = old.Spec.ClusterIP
		}
		if len(wanted.Spec.ClusterIPs) == 0 {
			wanted.Spec.ClusterIPs = old.Spec.ClusterIPs
		}
	}
	if allocatesNodePorts(wanted) && allocatesNodePorts(old) {
		keepNodePorts(wanted, old)
	}
	if apiservice.NeedsHealthCheck(wanted) && apiservice.NeedsHealthCheck(old) && wanted.Spec.HealthCheckNodePort == 0 {
		wanted.Spec.HealthCheckNodePort = old.Spec.HealthCheckNodePort
	}
}

// keepNodePorts finds ports again by their names; their numbers may have changed. A
// node port that the new list gives to some port is not given to another.
func keepNodePorts(wanted, old *api.Service) {
	byName, taken := map[string]int32{}, map[int32]bool{}
	for _, port := range old.Spec.Ports {
		byName[port.Name] = port.NodePort
		taken[port.NodePort] = port.NodePort != 0 && slices.ContainsFunc(wanted.Spec.Ports, func(other api.ServicePort) bool {
			return other.NodePort == port.NodePort
		})
	}
	for i := range wanted.Spec.Ports {
		port := &wanted.Spec.Ports[i]
		if kept := byName[port.Name]; port.NodePort == 0 && !taken[kept] {
			port.NodePort = kept
		}
	}
}
