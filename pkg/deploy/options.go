package deploy

import (
	"fmt"
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/version"
)

// Options are what a platform team decides about a tenant.
type Options struct {
	// Tenant and Namespace must be given.
	Tenant, Namespace string
	// Image is that of the one container.
	Image string
	// Ephemeral keeps the data in an emptyDir: it is gone with the pod.
	Ephemeral bool
	// Namespaced leaves the ClusterRole out: nothing outside the namespace is needed to install or to run.
	Namespaced bool
	// StorageSize and StorageClass are those of the volume, unless Ephemeral; no class means the host's default.
	StorageSize  resource.Quantity
	StorageClass string
	// KeepVolume keeps the data when the StatefulSet is deleted.
	KeepVolume bool
	// FSGroup lets a process that is not root write to a volume of the host; nil leaves it to the platform, which
	// OpenShift insists on.
	FSGroup *int64
	// Resources are those of the one container.
	Resources corev1.ResourceRequirements
	// PodDisruptionBudget, NetworkPolicy and ServiceMonitor are of the control plane.
	PodDisruptionBudget PodDisruptionBudget
	NetworkPolicy       NetworkPolicy
	ServiceMonitor      ServiceMonitor
	// ResourceQuota and LimitRange bound the host namespace, if they are not empty.
	ResourceQuota corev1.ResourceList
	LimitRange    []corev1.LimitRangeItem
	// Lifetime is when the tenant removes itself. It can only remove what its anchor owns, as with `nestling create`.
	Lifetime Lifetime
	// Run is the `nestling run` that makes the tenant, for as long as it runs; empty: it is not made by one.
	Run string
	// Config is written into the ConfigMap as it is; fields left out keep the defaults of the version that runs.
	Config config.Config
}

// Default returns options that lack only a name and a namespace.
func Default() Options {
	group := int64(65532) // the image's user
	return Options{
		Image:       DefaultImage(),
		StorageSize: resource.MustParse("5Gi"), // twice etcd's quota, for defragmentation, and its log
		FSGroup:     &group,
		Resources: corev1.ResourceRequirements{
			// An idle control plane has 245 MB resident, of which 100 MB is the binary's, shared with its neighbours; with
			// 500 pods created and deleted at once, it came to 670 MB. No CPU limit: it would only make the start slower.
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("256Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")},
		},
		PodDisruptionBudget: PodDisruptionBudget{MaxUnavailable: 1},
		NetworkPolicy:       NetworkPolicy{Nameservers: clusterDNS()},
	}
}

// DefaultImage is the image of this build.
func DefaultImage() string { return "nestling.dev/nestling:" + version.Get().Version }

// Validate names the first option that cannot be, as the command line calls it.
func (o Options) Validate() error {
	if detail := config.ValidateTenant(o.Tenant); detail != "" {
		return fmt.Errorf("NAME: %s", detail)
	}
	if detail := config.ValidateNamespace(o.Namespace); detail != "" {
		return fmt.Errorf("--namespace: %s", detail)
	}
	if o.Image == "" || strings.ContainsAny(o.Image, " \t\n") {
		return fmt.Errorf("--image: %q is not the name of an image", o.Image)
	}
	if !o.Ephemeral && o.StorageSize.Sign() <= 0 {
		return fmt.Errorf("--storage-size: %s is not above 0", o.StorageSize.String())
	}
	for _, check := range []func() error{o.validateNamespace, o.NetworkPolicy.validate} {
		if err := check(); err != nil {
			return fmt.Errorf("values: %w", err)
		}
	}
	checked := o.Config
	if o.Namespaced {
		checked.Nodes.Mirror = config.MirrorUsed // whatever it says: nodes are not read
	}
	return checked.Check(o.Tenant, o.Namespace)
}

func (o Options) names() Names { return Names{Tenant: o.Tenant, Namespace: o.Namespace} }

// file is the configuration file in the ConfigMap: what differs from the defaults.
func (o Options) file() config.Config {
	file := o.Config
	tidy(reflect.ValueOf(&file).Elem())
	file.APIVersion, file.Kind = config.APIVersion, config.Kind
	file.Tenant = o.Tenant
	if o.Ephemeral {
		// The data dies with the pod, so it need not outlive the node. A killed process loses nothing by it.
		file.Etcd.UnsafeNoFsync = true
	}
	if o.ServiceMonitor.Enabled {
		file.Metrics.ScrapeSecret = true // it names that Secret
	}
	return file
}

// tidy makes empty lists and mappings nil: whether a file says "none" or nothing, the pod is the same.
func tidy(in reflect.Value) {
	for i := range in.NumField() {
		switch field := in.Field(i); field.Kind() {
		case reflect.Struct:
			if in.Type().Field(i).IsExported() {
				tidy(field)
			}
		case reflect.Slice, reflect.Map:
			if field.Len() == 0 && field.CanSet() {
				field.SetZero()
			}
		}
	}
}
