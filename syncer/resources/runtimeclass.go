package resources

import (
	nodev1 "k8s.io/api/node/v1"

	"nestling.dev/nestling/syncer/resource"
)

// RuntimeClasses mirror those of the host that the operator offers. Both sides' admission
// adds a class's overhead and placement to pods; the host's is the one that counts.
func RuntimeClasses() resource.Kind {
	return resource.Spec[*nodev1.RuntimeClass]{
		Resource:  nodev1.SchemeGroupVersion.WithResource("runtimeclasses"),
		Kind:      "RuntimeClass",
		Direction: resource.FromHost,
		Optional:  true,
		NoStatus:  true,
		About: resource.About{
			Virtual: "the tenant's own classes: the host rejects pods that name one it does not know",
			Host:    "everything",
			Default: "all of the host, or those that `sync.runtimeClasses.selector` selects",
		},
		New: func() *nodev1.RuntimeClass { return &nodev1.RuntimeClass{} },
		Select: func(env resource.Env, host *nodev1.RuntimeClass) bool {
			return resource.Offers(env.Policy.RuntimeClasses, host)
		},
		ToVirtual: func(_ resource.Env, host *nodev1.RuntimeClass) (*nodev1.RuntimeClass, error) {
			return &nodev1.RuntimeClass{ObjectMeta: mirrorMeta(host), Handler: host.Handler, Overhead: host.Overhead, Scheduling: host.Scheduling}, nil
		},
		MergeVirtual: func(_ resource.Env, virtual, host *nodev1.RuntimeClass) *nodev1.RuntimeClass {
			out := *virtual
			out.Labels, out.Overhead, out.Scheduling = host.Labels, host.Overhead, host.Scheduling
			return &out
		},
		Replace: func(desired, live *nodev1.RuntimeClass) bool { return desired.Handler != live.Handler },
	}.Erase()
}

// checkRuntimeClass rejects a class of the host's that is not for this tenant. One that the
// host lacks is left to the host, which says so: never dropped, since a class may be what
// keeps a pod apart from others.
func checkRuntimeClass(env resource.Env, class *string) error {
	if class == nil {
		return nil
	}
	if host := env.View.Host("runtimeclasses", *class); host != nil && !resource.Offers(env.Policy.RuntimeClasses, host) {
		return resource.Rejectf("RuntimeClassNotOffered", "the host does not offer RuntimeClass %q to this cluster's pods", *class)
	}
	return nil
}
