// Package deploy writes the manifests of one tenant: everything that has to exist on the host for a nestling to run,
// as typed objects, made by pure functions from Options.
//
// The same objects are printed by `nestling manifests`, rendered into manifests/ and applied by tests, so that the
// three cannot differ. The Role is generated from the list of host resources in rules.go, which is also what the
// process checks, when it starts, that it may do.
package deploy
