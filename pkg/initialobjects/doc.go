// Package initialobjects puts the operator's objects into a tenant, and keeps them there.
//
// They are applied (server-side, as a field manager of their own, which wins) when the
// tenant starts: Namespaces and CustomResourceDefinitions first, and the rest until the
// tenant's API takes it. From then on a watch of each of their kinds, limited to a label,
// tells when somebody has changed or deleted one, and it is applied again. At rest nothing
// is written, and nothing is asked.
//
// What they do not say stays whoever's it is: an operator who leaves out a field leaves it
// to the tenant. An object that is taken off the list stays in the tenant, and is the
// tenant's from then on: what depends on it is not for us to know.
//
// One that the tenant's API does not take keeps nobody waiting: the tenant is ready without
// it. A webhook that the tenant has broken must not take a cluster away. It is tried again,
// and an event in the tenant, a line in the log and the metric nestling_initial_objects
// tell of it.
package initialobjects
