package resources

import (
	"strings"

	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"nestling.dev/nestling/syncer/resource"
)

// systemPriorityPrefix is that of the classes which every API server makes for itself,
// and which nobody else can make.
const systemPriorityPrefix = "system-"

// PriorityClasses mirror those of the host that the operator offers. The tenant's own stay
// in the tenant: there is one order of importance on a host, and it is the operator's.
func PriorityClasses() resource.Kind {
	return resource.Spec[*schedulingv1.PriorityClass]{
		Resource:  schedulingv1.SchemeGroupVersion.WithResource("priorityclasses"),
		Kind:      "PriorityClass",
		Direction: resource.FromHost,
		Optional:  true,
		NoStatus:  true,
		Yields:    true, // as global default
		About: resource.About{
			Virtual: "the tenant's own classes, which stay here: pods that name one run on the host without",
			Host:    "everything; yields as global default to one of the tenant's own",
			Default: "all of the host but `system-*`, or those that `sync.priorityClasses.selector` selects",
		},
		New: func() *schedulingv1.PriorityClass { return &schedulingv1.PriorityClass{} },
		Select: func(env resource.Env, host *schedulingv1.PriorityClass) bool {
			return !strings.HasPrefix(host.Name, systemPriorityPrefix) && resource.Offers(env.Policy.PriorityClasses, host)
		},
		ToVirtual: func(env resource.Env, host *schedulingv1.PriorityClass) (*schedulingv1.PriorityClass, error) {
			return &schedulingv1.PriorityClass{
				ObjectMeta: mirrorMeta(host), Value: host.Value, Description: host.Description, PreemptionPolicy: host.PreemptionPolicy,
				// The API refuses a second one.
				GlobalDefault: host.GlobalDefault && !hasOwnDefaultPriority(env),
			}, nil
		},
		MergeVirtual: func(_ resource.Env, virtual, host *schedulingv1.PriorityClass) *schedulingv1.PriorityClass {
			out := *virtual
			out.Labels, out.Description, out.GlobalDefault = host.Labels, host.Description, host.GlobalDefault
			return &out
		},
		Replace: func(desired, live *schedulingv1.PriorityClass) bool {
			return desired.Value != live.Value || !equality.Semantic.DeepEqual(desired.PreemptionPolicy, live.PreemptionPolicy)
		},
	}.Erase()
}

// hasOwnDefaultPriority reports whether a class of the tenant's own is the global default.
func hasOwnDefaultPriority(env resource.Env) bool {
	for _, object := range env.View.VirtualList("priorityclasses", "") {
		class, ok := object.(*schedulingv1.PriorityClass)
		if ok && class.GlobalDefault && class.Annotations[resource.AnnotationMirror] == "" {
			return true
		}
	}
	return false
}

// hostPriorityClass is the priority class of a tenant's pod on the host, empty for none. A
// class goes by its name where the operator offers it: the host refuses pods that name one
// it does not know, and knows some that are not for tenants.
func hostPriorityClass(env resource.Env, class string) (string, error) {
	switch {
	case class == "":
		return "", nil
	case strings.HasPrefix(class, systemPriorityPrefix):
		if env.Policy.SystemPriorityClasses {
			return class, nil // every API server has them
		}
	default:
		host := env.View.Host("priorityclasses", class)
		if host != nil && resource.Offers(env.Policy.PriorityClasses, host) {
			return class, nil
		}
	}
	if env.Policy.RejectPriorityClasses {
		return "", resource.Rejectf("PriorityClassNotOffered",
			"the host does not offer PriorityClass %q to this cluster's pods; name one of those that it mirrors here, or none", class)
	}
	return "", nil
}
