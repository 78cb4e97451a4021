package deploy

import (
	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/syncer/resources"
)

// SyncOptions are how a configuration wants kinds synced: they decide on the rights that the process needs.
func SyncOptions(c *config.Config) resources.Options {
	options := resources.Options{
		AllConfigMaps:    c.Sync.ConfigMaps == config.SelectAll,
		AllSecrets:       c.Sync.Secrets == config.SelectAll,
		ServiceAccounts:  c.Sync.ServiceAccounts,
		Snapshots:        true,
		KeepVolumeClaims: c.Sync.PersistentVolumeClaims.OnTenantDelete == config.DataRetain,
		Unreadable:       map[string]bool{},
		Disabled:         map[string]bool{},
	}
	for _, plural := range c.Sync.Disabled {
		options.Disabled[plural] = true
	}
	if c.Nodes.Mirror == config.MirrorUsed {
		options.Unreadable["nodes"] = true
	}
	return options
}
