// Package resources holds the kinds that are synced: one file each, one value each.
package resources

import (
	"slices"

	"nestling.dev/nestling/syncer/resource"
)

// Options choose how kinds are synced. The zero value is the default.
type Options struct {
	// AllConfigMaps and AllSecrets sync every one of them, not only those that a synced
	// object refers to or that ask for it by the annotation nestling.dev/sync.
	AllConfigMaps, AllSecrets bool
	// ServiceAccounts syncs those that a pod runs as.
	ServiceAccounts bool
	// Snapshots has the kinds of volume snapshots, whose definitions the tenant must have.
	Snapshots bool
	// KeepVolumeClaims has claims, and the data behind them, outlive the tenant.
	KeepVolumeClaims bool
	// Disabled is what the operator does not want, by plural.
	Disabled map[string]bool
	// Unreadable is what the host does not serve, or does not let us use, as
	// schema.GroupResource prints it: "nodes", "storageclasses.storage.k8s.io".
	Unreadable map[string]bool
}

// Registry is every kind that the syncer knows, in the order in which they start.
func Registry(options Options) []resource.Kind {
	kinds := []resource.Kind{
		Namespaces(),
		ConfigMaps(options.AllConfigMaps),
		Secrets(options.AllSecrets),
		Services(),
		Endpoints(),
		EndpointSlices(),
		Ingresses(),
		IngressClasses(),
		NetworkPolicies(),
		PodDisruptionBudgets(),
		Events(),
		PersistentVolumeClaims(options.KeepVolumeClaims),
		PersistentVolumes(options.Unreadable["persistentvolumes"]),
		StorageClasses(),
		CSIDrivers(),
		CSINodes(!options.Unreadable["nodes"]),
		CSIStorageCapacities(),
		VolumeAttributesClasses(),
		Pods(),
		Nodes(!options.Unreadable["nodes"]),
		PriorityClasses(),
		RuntimeClasses(),
		DeviceClasses(),
		ResourceSlices(),
		ResourceClaims(),
	}
	if options.ServiceAccounts {
		kinds = append(kinds, ServiceAccounts())
	}
	if options.Snapshots {
		kinds = append(kinds, VolumeSnapshots(), VolumeSnapshotContents(), VolumeSnapshotClasses())
	}
	return slices.DeleteFunc(kinds, func(kind resource.Kind) bool {
		return options.Disabled[kind.Resource.Resource] ||
			kind.Optional && kind.Make == nil && options.Unreadable[kind.Resource.GroupResource().String()]
	})
}
