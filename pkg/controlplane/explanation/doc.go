// Package explanation is the API group nestling.dev/v1alpha1, in which a tenant asks what
// became of an object on the host: `kubectl get explanation pods:web -o yaml`, and `nestling
// explain pod/web`, which prints the same for people.
//
// Its resources are answers, not objects: they can be read one by one and do nothing else, so
// that whatever goes through all that a cluster has (the ends of namespaces, the garbage
// collector, kubectl get all) does not meet them. Objects of namespaces are explained by
// explanations, others by clusterexplanations; the name is RESOURCE[.GROUP]:NAME.
//
// Who may read an object may have it explained: it is read in the user's own name first. So
// everybody who is known to the cluster may ask.
package explanation
