// Package leak holds the law that nothing leaks, as tests over every kind of the registry,
// filled at random:
//
//   - Nothing on the host side carries a name, a selector, a reference or a permission that
//     reaches outside the tenant, whatever the tenant writes.
//   - Nothing on the virtual side carries a name of the host's, whatever the host says.
//
// What a field means is written down once, in testdata/fields.txt: one line for each field
// of each type that a synced kind is made of. A kind that is new, or a field that a new
// version of Kubernetes brings, fails the tests until somebody has said what it means; go
// test -update adds the lines that are missing, with a question mark to be replaced.
//
//	value       a number, a time, a truth, or a word of the API's own
//	text        the author's, and the same wherever it is read; a part of the object itself
//	message     said by the host, in a mirror or a status: its names in it are replaced
//	said        a message that may be a container's own: names in it are replaced, namespaces only beside names
//	handle      a path or an address made by the host's provisioners, of a claim's names too: these are replaced
//	reference   names an object of the same namespace: a translated name on the host
//	namespace   names a namespace: none on the host, or the host's own
//	cluster     names an object without namespace: the same on both sides
//	kind        the group or kind of a reference
//	uid         of an object: never one side's on the other
//	account     a ServiceAccount: the one without rights, or a translated name
//	fieldpath   a field of the pod, which on the host is one of our annotations, or the host's to know
//	pods        a selector of pods: confined to the tenant, and to virtual namespaces
//	namespaces  a selector of namespaces: none on the host
//	nodes       a selector of nodes, which are the same on both sides
//	volumes     a selector of volumes, which are the same on both sides
//	endpoint    an address behind a Service: not one of the host's nodes, nor of others' pods
//	never       not on the host at all
package leak
