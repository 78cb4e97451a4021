// Package resources holds the kinds that are synced: one file each, one value each.
package resources

import "nestling.dev/nestling/syncer/resource"

// Options choose how kinds are synced. The zero value is the default.
type Options struct {
	// SyncAll syncs every ConfigMap and Secret, not only those that a synced object
	// refers to or that ask for it by the annotation nestling.dev/sync.
	SyncAll bool
}

// Registry is every kind that the syncer knows, in the order in which they start.
func Registry(options Options) []resource.Kind {
	return []resource.Kind{
		Namespaces(),
		Nodes(),
		ConfigMaps(options.SyncAll),
		Secrets(options.SyncAll),
		Services(),
		Events(),
		Pods(),
	}
}
