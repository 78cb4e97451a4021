package resources

import (
	resourcev1 "k8s.io/api/resource/v1"

	"nestling.dev/nestling/syncer/resource"
)

// DeviceClasses mirror the host's: its scheduler reads them, and no others.
func DeviceClasses() resource.Kind {
	return resource.Spec[*resourcev1.DeviceClass]{
		Resource:  resourcev1.SchemeGroupVersion.WithResource("deviceclasses"),
		Kind:      "DeviceClass",
		Direction: resource.FromHost,
		Optional:  true,
		NoStatus:  true,
		Atomic:    true, // its lists have no keys
		About: resource.About{
			Virtual: "nothing; the host's scheduler does not see the tenant's own classes",
			Host:    "everything",
			Default: "all of the host",
		},
		New: func() *resourcev1.DeviceClass { return &resourcev1.DeviceClass{} },
		ToVirtual: func(_ resource.Env, host *resourcev1.DeviceClass) (*resourcev1.DeviceClass, error) {
			return &resourcev1.DeviceClass{ObjectMeta: mirrorMeta(host), Spec: host.Spec}, nil
		},
		MergeVirtual: func(_ resource.Env, virtual, host *resourcev1.DeviceClass) *resourcev1.DeviceClass {
			out := *virtual
			out.Labels, out.Spec = host.Labels, host.Spec
			return &out
		},
	}.Erase()
}
