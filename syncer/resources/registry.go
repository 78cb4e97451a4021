// Package resources holds the kinds that are synced: one file each, one value each.
package resources

import "nestling.dev/nestling/syncer/resource"

// Registry is every kind that the syncer knows, in the order in which they start.
func Registry() []resource.Kind {
	return []resource.Kind{}
}
