package deploy

// RunAnnotation on the anchor says which `nestling run` has made the tenant, or taken it over from an earlier one: it is
// the one that deletes it.
const RunAnnotation = "nestling.dev/run"
