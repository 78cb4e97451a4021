package resources

import "nestling.dev/nestling/syncer/resource"

// virtualNames replaces the names of host objects of ours by those of their virtual ones,
// for text that may name any of them.
func virtualNames(env resource.Env, text string) string { return resource.VirtualNames(env, nil, text) }
