package resources

import (
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"nestling.dev/nestling/syncer/resource"
)

// ResourceSlices mirror the host's, so that a tenant can see which devices there are to
// claim. Nothing in the tenant allocates them.
func ResourceSlices() resource.Kind {
	return resource.Spec[*resourcev1.ResourceSlice]{
		Resource:  resourcev1.SchemeGroupVersion.WithResource("resourceslices"),
		Kind:      "ResourceSlice",
		Direction: resource.FromHost,
		Optional:  true,
		NoStatus:  true,
		Atomic:    true, // its lists have no keys
		About:     resource.About{Virtual: "nothing", Host: "everything", Default: "all of the host"},
		New:       func() *resourcev1.ResourceSlice { return &resourcev1.ResourceSlice{} },
		ToVirtual: func(_ resource.Env, host *resourcev1.ResourceSlice) (*resourcev1.ResourceSlice, error) {
			return &resourcev1.ResourceSlice{ObjectMeta: mirrorMeta(host), Spec: host.Spec}, nil
		},
		MergeVirtual: func(_ resource.Env, virtual, host *resourcev1.ResourceSlice) *resourcev1.ResourceSlice {
			out := *virtual
			out.Labels, out.Spec = host.Labels, host.Spec
			return &out
		},
		Replace: func(desired, live *resourcev1.ResourceSlice) bool {
			return desired.Spec.Driver != live.Spec.Driver || desired.Spec.Pool.Name != live.Spec.Pool.Name ||
				!equality.Semantic.DeepEqual(desired.Spec.NodeName, live.Spec.NodeName)
		},
	}.Erase()
}
