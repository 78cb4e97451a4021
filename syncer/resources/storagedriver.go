package resources

import (
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"nestling.dev/nestling/syncer/resource"
)

// CSIDrivers mirror the host's.
func CSIDrivers() resource.Kind {
	return resource.Spec[*storagev1.CSIDriver]{
		Resource:  storagev1.SchemeGroupVersion.WithResource("csidrivers"),
		Kind:      "CSIDriver",
		Direction: resource.FromHost,
		Optional:  true,
		NoStatus:  true,
		Atomic:    true, // tokenRequests has no keys
		About:     resource.About{Virtual: "nothing", Host: "everything", Default: "all of the host"},
		New:       func() *storagev1.CSIDriver { return &storagev1.CSIDriver{} },
		ToVirtual: func(_ resource.Env, host *storagev1.CSIDriver) (*storagev1.CSIDriver, error) {
			return &storagev1.CSIDriver{ObjectMeta: mirrorMeta(host), Spec: host.Spec}, nil
		},
		MergeVirtual: func(_ resource.Env, virtual, host *storagev1.CSIDriver) *storagev1.CSIDriver {
			out := *virtual
			out.Labels, out.Spec = host.Labels, host.Spec
			return &out
		},
		Replace: func(desired, live *storagev1.CSIDriver) bool {
			return !equality.Semantic.DeepEqual(desired.Spec.AttachRequired, live.Spec.AttachRequired) ||
				!equality.Semantic.DeepEqual(desired.Spec.VolumeLifecycleModes, live.Spec.VolumeLifecycleModes)
		},
	}.Erase()
}

// VolumeAttributesClasses mirror the host's.
func VolumeAttributesClasses() resource.Kind {
	return resource.Spec[*storagev1.VolumeAttributesClass]{
		Resource:   storagev1.SchemeGroupVersion.WithResource("volumeattributesclasses"),
		Kind:       "VolumeAttributesClass",
		Direction:  resource.FromHost,
		Optional:   true,
		NoStatus:   true,
		About:      resource.About{Virtual: "the tenant's own classes, which no driver of the host knows", Host: "everything", Default: "all of the host"},
		Finalizers: []string{"kubernetes.io/vac-protection"},
		New:        func() *storagev1.VolumeAttributesClass { return &storagev1.VolumeAttributesClass{} },
		ToVirtual: func(_ resource.Env, host *storagev1.VolumeAttributesClass) (*storagev1.VolumeAttributesClass, error) {
			return &storagev1.VolumeAttributesClass{ObjectMeta: mirrorMeta(host), DriverName: host.DriverName, Parameters: host.Parameters}, nil
		},
		MergeVirtual: func(_ resource.Env, virtual, host *storagev1.VolumeAttributesClass) *storagev1.VolumeAttributesClass {
			out := *virtual
			out.Labels = host.Labels
			return &out
		},
		Replace: func(desired, live *storagev1.VolumeAttributesClass) bool {
			return desired.DriverName != live.DriverName || !equality.Semantic.DeepEqual(desired.Parameters, live.Parameters)
		},
	}.Erase()
}

// capacityNamespace has the mirrors of capacities: the namespaces of the host's drivers,
// where they are on the host, are not the tenant's.
const capacityNamespace = "kube-system"

// CSIStorageCapacities mirror the host's of all namespaces: how much room there is, by
// class and topology. Only people read them here; the host's scheduler has its own.
func CSIStorageCapacities() resource.Kind {
	return resource.Spec[*storagev1.CSIStorageCapacity]{
		Resource:   storagev1.SchemeGroupVersion.WithResource("csistoragecapacities"),
		Kind:       "CSIStorageCapacity",
		Namespaced: true,
		Everywhere: capacityNamespace,
		Direction:  resource.FromHost,
		Optional:   true,
		NoStatus:   true,
		About:      resource.About{Virtual: "nothing", Host: "everything", Default: "all of the host, in `kube-system`"},
		New:        func() *storagev1.CSIStorageCapacity { return &storagev1.CSIStorageCapacity{} },
		VirtualKey: func(_ resource.Env, host *storagev1.CSIStorageCapacity) (resource.Key, bool) {
			return resource.Key{Namespace: capacityNamespace, Name: host.Name}, true
		},
		ToVirtual: func(_ resource.Env, host *storagev1.CSIStorageCapacity) (*storagev1.CSIStorageCapacity, error) {
			virtual := *host
			virtual.ObjectMeta = mirrorMeta(host)
			virtual.Namespace = capacityNamespace
			return &virtual, nil
		},
		MergeVirtual: func(_ resource.Env, virtual, host *storagev1.CSIStorageCapacity) *storagev1.CSIStorageCapacity {
			out := *virtual
			out.Labels, out.Capacity, out.MaximumVolumeSize = host.Labels, host.Capacity, host.MaximumVolumeSize
			return &out
		},
		Replace: func(desired, live *storagev1.CSIStorageCapacity) bool {
			return desired.StorageClassName != live.StorageClassName || !equality.Semantic.DeepEqual(desired.NodeTopology, live.NodeTopology)
		},
	}.Erase()
}
