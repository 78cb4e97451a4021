package rest

import "strings"

// manifests are what makes one object of a kind, NAME, on the side where it comes from;
// more than one where it needs another.
func manifests(kind, name string) []string {
	text, ok := map[string]string{
		"ConfigMap": `
{apiVersion: v1, kind: ConfigMap, metadata: {name: NAME, annotations: {nestling.dev/sync: "true"}}, data: {a: b}}`,
		"Secret": `
{apiVersion: v1, kind: Secret, metadata: {name: NAME, annotations: {nestling.dev/sync: "true"}}, stringData: {a: b}}`,
		"Service": `
{apiVersion: v1, kind: Service, metadata: {name: NAME}, spec: {selector: {app: NAME}, ports: [{port: 80}]}}`,
		"Endpoints": `
{apiVersion: v1, kind: Service, metadata: {name: e-NAME}, spec: {ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Endpoints, metadata: {name: e-NAME}, subsets: [{addresses: [{ip: 203.0.113.1}], ports: [{port: 80}]}]}`,
		"EndpointSlice": ``, // made of the Endpoints
		"Ingress": `
{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: NAME}, spec: {defaultBackend: {service: {name: NAME, port: {number: 80}}}}}`,
		"NetworkPolicy": `
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: NAME}, spec: {podSelector: {matchLabels: {app: NAME}}, policyTypes: [Ingress]}}`,
		"PodDisruptionBudget": `
{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: NAME}, spec: {minAvailable: 1, selector: {matchLabels: {app: NAME}}}}`,
		"PersistentVolumeClaim": `
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: NAME}, spec: {storageClassName: immediate, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}}`,
		"PersistentVolume": ``, // made for the claims
		"Pod": `
{apiVersion: v1, kind: Pod, metadata: {name: NAME, labels: {app: NAME}}, spec: {serviceAccountName: NAME, enableServiceLinks: false, containers: [{name: c, image: registry.k8s.io/pause}]}}`, // or each has variables of all Services
		"ResourceClaim": `
{apiVersion: resource.k8s.io/v1, kind: ResourceClaim, metadata: {name: NAME}, spec: {devices: {requests: [{name: a, exactly: {deviceClassName: NAME}}]}}}`,
		"ServiceAccount": `
{apiVersion: v1, kind: ServiceAccount, metadata: {name: NAME, annotations: {example.org/role: NAME}}}`,

		"Node":  ``, // the host's
		"Event": ``, // told about the rest
		"PriorityClass": `
{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: NAME}, value: 1000}`,
		"RuntimeClass": `
{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: NAME}, handler: runc}`,
		"DeviceClass": `
{apiVersion: resource.k8s.io/v1, kind: DeviceClass, metadata: {name: NAME}, spec: {}}`,
		"ResourceSlice": `
{apiVersion: resource.k8s.io/v1, kind: ResourceSlice, metadata: {name: NAME}, spec: {driver: d.example, nodeName: node-1, pool: {name: NAME, generation: 1, resourceSliceCount: 1}}}`,
		"StorageClass": `
{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: NAME}, provisioner: d.example}`,
		"CSIDriver": `
{apiVersion: storage.k8s.io/v1, kind: CSIDriver, metadata: {name: NAME}, spec: {attachRequired: false}}`,
		"CSINode": ``, // one of each node
		"CSIStorageCapacity": `
{apiVersion: storage.k8s.io/v1, kind: CSIStorageCapacity, metadata: {name: NAME}, storageClassName: immediate, capacity: 1Gi}`,
		"VolumeAttributesClass": `
{apiVersion: storage.k8s.io/v1, kind: VolumeAttributesClass, metadata: {name: NAME}, driverName: d.example, parameters: {a: b}}`,
		"IngressClass": `
{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: NAME}, spec: {controller: example.org/c}}`,
		"VolumeSnapshot": `
{apiVersion: snapshot.storage.k8s.io/v1, kind: VolumeSnapshot, metadata: {name: NAME}, spec: {source: {persistentVolumeClaimName: NAME}}}`,
		"VolumeSnapshotContent": ``, // made for the snapshots
		"VolumeSnapshotClass": `
{apiVersion: snapshot.storage.k8s.io/v1, kind: VolumeSnapshotClass, metadata: {name: NAME}, driver: d.example, deletionPolicy: Delete}`,
	}[kind]
	if !ok {
		return nil
	}
	return strings.Split(strings.ReplaceAll(text, "NAME", name), "\n---\n")
}

// few are kinds of which there are as many as the host has.
func few(kind string) bool {
	switch kind {
	case "Node", "Event", "CSINode":
		return true
	}
	return false
}
