// Package serviceip gives virtual Services the addresses of the host.
//
// A virtual ClusterIP works because it is the host's: the host's kube-proxy answers at
// it. So the host chooses. The admission plugin NestlingServiceIP, last of the mutating
// ones, makes the host Service before the virtual one is written, and puts the host's
// ClusterIPs, node ports and health check port into the request. Whatever the verb -
// create, apply, patch, generateName, dry run - the answer has the final addresses, and
// what the host refuses (quota, a port that is taken) is refused at once, in its words.
//
//	create Service ─► admission ─► Allocator: create on the host ─► addresses ─► write
//
// When the write fails after that, the host Service is left over. It carries no
// annotation nestling.dev/uid, by which the syncer knows it and sweeps it.
//
// A Service that changes (its type, say) goes the same way. Between the change of the host
// Service and the write of the virtual one, the syncer knows the new host Service and the
// old virtual one: the annotation nestling.dev/admission keeps it from taking the change
// back, until it knows the new one, or the change has come to nothing.
package serviceip
