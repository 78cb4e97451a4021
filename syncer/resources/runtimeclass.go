package resources

import (
	"slices"

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
			Virtual: "the tenant's own classes: a pod that names one gets the offered class with the same handler, or is rejected",
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

// hostRuntimeClass is the class of a tenant's pod on the host. One that the operator offers
// goes by its name. One of the tenant's own is for the sake of its handler, a program of the
// nodes: it becomes the first of the offered classes that has the same, whose overhead and
// placement then count. Never is a class dropped, since it may be what keeps a pod apart from
// others; one that only the host may know is left to the host, which says so.
func hostRuntimeClass(env resource.Env, class *string) (*string, error) {
	if class == nil {
		return nil, nil
	}
	if host := env.View.Host("runtimeclasses", *class); host != nil {
		if !resource.Offers(env.Policy.RuntimeClasses, host) {
			return nil, resource.Rejectf("RuntimeClassNotOffered", "the host does not offer RuntimeClass %q to this cluster's pods", *class)
		}
		return class, nil
	}
	own, ok := env.View.Virtual("runtimeclasses", resource.Key{Name: *class}).(*nodev1.RuntimeClass)
	if !ok {
		return class, nil
	}
	var offered []string
	for _, object := range env.View.HostList("runtimeclasses") {
		host, ok := object.(*nodev1.RuntimeClass)
		if ok && host.Handler == own.Handler && resource.Offers(env.Policy.RuntimeClasses, host) {
			offered = append(offered, host.Name)
		}
	}
	if len(offered) == 0 {
		return nil, resource.Rejectf("RuntimeClassNotOffered",
			"RuntimeClass %q is this cluster's own, and the host offers its pods no RuntimeClass with the handler %q; name one of those that it mirrors here", *class, own.Handler)
	}
	return new(slices.Min(offered)), nil
}
