// Package resources holds the kinds that are synced: one file each, one value each.
package resources

import "nestling.dev/nestling/syncer/resource"

// Options choose how kinds are synced. The zero value is the default.
type Options struct {
	// AllConfigMaps and AllSecrets sync every one of them, not only those that a synced
	// object refers to or that ask for it by the annotation nestling.dev/sync.
	AllConfigMaps, AllSecrets bool
	// NoNodes leaves out the mirror of the host's nodes: the host does not let us read them.
	NoNodes bool
}

// Registry is every kind that the syncer knows, in the order in which they start.
func Registry(options Options) []resource.Kind {
	kinds := []resource.Kind{
		Namespaces(),
		ConfigMaps(options.AllConfigMaps),
		Secrets(options.AllSecrets),
		Services(),
		Events(),
		Pods(),
	}
	if !options.NoNodes {
		kinds = append(kinds, Nodes())
	}
	return kinds
}
