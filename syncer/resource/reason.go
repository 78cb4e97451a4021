package resource

// ChangeType is how a field of the host object differs from the virtual object's.
type ChangeType string

const (
	Added   ChangeType = "Added"
	Removed ChangeType = "Removed"
	Changed ChangeType = "Changed"
)

// Reason says why a translation changes a field, to whoever asks what became of an object.
type Reason struct {
	// Field is a path like spec.containers[*].image: [*] is any element of a list or entry
	// of a map, [app.kubernetes.io/*] those that begin like this.
	Field string
	// When limits it to one type of change; empty: to none.
	When ChangeType
	// Why is part of a sentence, in words for the tenant.
	Why string
	// Hidden values are not shown: they may come from objects that the reader may not read.
	Hidden bool
}

// metaKeys are reasons for entries of labels and annotations.
func metaKeys(of string, when ChangeType, why string, hidden bool) []Reason {
	return []Reason{
		{Field: "metadata.labels[" + of + "]", When: when, Why: why, Hidden: hidden},
		{Field: "metadata.annotations[" + of + "]", When: when, Why: why, Hidden: hidden},
	}
}

// MetaReasons are those for what HostMeta and Stamp do, which is the same in all kinds.
func MetaReasons() []Reason {
	out := []Reason{
		{Field: "metadata.name", Why: "objects of all namespaces of this cluster share one namespace on the host: a name of cluster, namespace, name and a hash keeps them apart"},
		{Field: "metadata.namespace", Why: "all that this cluster has on the host is in one namespace there"},
		{Field: "metadata.generateName", Why: "the name is made already"},
		{Field: "metadata.finalizers", Why: "finalizers hold the object here, until those who set them take them off"},
		{Field: "metadata.ownerReferences", Why: "owners are objects of this cluster, which deletes what they own; on the host one object owns all of this cluster, so that nothing outlives it"},
		{Field: "metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]", Why: "a note of kubectl's, for this cluster only", Hidden: true},
		{Field: "metadata.labels[" + Prefix + "*]", When: Added, Why: "marks that tell this cluster's objects, and those of each of its namespaces, from all others on the host"},
		{Field: "metadata.annotations[" + Prefix + "*]", When: Added, Why: "the way back from the host object to this one, and notes of what was written last", Hidden: true},
	}
	return append(out, metaKeys(Prefix+"*", "", "keys under "+Prefix+" are not an author's to set on the host", true)...)
}
