package deploy

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"nestling.dev/nestling/pkg/config"
)

// DefaultValues are Default as a file says it.
func DefaultValues() *Values {
	o := Default()
	// Empty, and not null, is what a reader of values.yaml can change.
	o.NetworkPolicy.APIFrom, o.NetworkPolicy.HostAPIServers = []networkingv1.NetworkPolicyPeer{}, []Endpoint{}
	o.NetworkPolicy.Egress = []networkingv1.NetworkPolicyEgressRule{}
	o.ServiceMonitor.Labels = map[string]string{}
	return &Values{
		Image:     o.Image,
		Storage:   Storage{Size: Amount(o.StorageSize.String())},
		FSGroup:   *o.FSGroup,
		Resources: Resources{Requests: amounts(o.Resources.Requests), Limits: amounts(o.Resources.Limits)},

		PodDisruptionBudget: o.PodDisruptionBudget,
		NetworkPolicy:       o.NetworkPolicy,
		ServiceMonitor:      o.ServiceMonitor,
		ResourceQuota:       ResourceQuota{Hard: map[string]Amount{}},
		LimitRange:          LimitRange{Limits: []LimitRangeItem{}},
	}
}

// Options are what the values say about the tenant of that name. An error is a *config.Error that names the fields.
func (v *Values) Options(tenant, namespace string) (Options, error) {
	bad := &config.Error{Of: "values"}
	o := Options{
		Tenant:       tenant,
		Namespace:    namespace,
		Image:        v.Image,
		Ephemeral:    v.Ephemeral,
		Namespaced:   v.Namespaced,
		StorageSize:  v.Storage.Size.quantity("storage.size", bad),
		StorageClass: v.Storage.ClassName,
		KeepVolume:   v.Storage.Keep,
		Resources: corev1.ResourceRequirements{
			Requests: quantities("resources.requests", v.Resources.Requests, bad),
			Limits:   quantities("resources.limits", v.Resources.Limits, bad),
		},
		PodDisruptionBudget: v.PodDisruptionBudget,
		NetworkPolicy:       v.NetworkPolicy,
		ServiceMonitor:      v.ServiceMonitor,
		ResourceQuota:       quantities("resourceQuota.hard", v.ResourceQuota.Hard, bad),
		Config:              v.Config,
	}
	for i, item := range v.LimitRange.Limits {
		o.LimitRange = append(o.LimitRange, item.limits(fmt.Sprintf("limitRange.limits[%d]", i), bad))
	}
	if v.FSGroup >= 0 {
		o.FSGroup = &v.FSGroup
	}
	if v.Config.Tenant != "" && v.Config.Tenant != tenant {
		add(bad, "config.tenant", fmt.Sprintf("is %q, not %q", v.Config.Tenant, tenant))
	}
	if len(bad.Problems) > 0 {
		return Options{}, bad
	}
	return o, nil
}

func (i LimitRangeItem) limits(field string, bad *config.Error) corev1.LimitRangeItem {
	return corev1.LimitRangeItem{
		Type:                 corev1.LimitType(i.Type),
		Max:                  quantities(field+".max", i.Max, bad),
		Min:                  quantities(field+".min", i.Min, bad),
		Default:              quantities(field+".default", i.Default, bad),
		DefaultRequest:       quantities(field+".defaultRequest", i.DefaultRequest, bad),
		MaxLimitRequestRatio: quantities(field+".maxLimitRequestRatio", i.MaxLimitRequestRatio, bad),
	}
}

// quantity adds to the problems if it is none.
func (a Amount) quantity(field string, bad *config.Error) resource.Quantity {
	out, err := resource.ParseQuantity(string(a))
	if err != nil {
		add(bad, field, fmt.Sprintf("%q is not a quantity such as 5Gi", string(a)))
	} else if out.Sign() < 0 {
		add(bad, field, fmt.Sprintf("%s is below 0", string(a)))
	}
	return out
}

func quantities(field string, amounts map[string]Amount, bad *config.Error) corev1.ResourceList {
	var out corev1.ResourceList
	for _, name := range slices.Sorted(maps.Keys(amounts)) {
		if out == nil {
			out = corev1.ResourceList{}
		}
		out[corev1.ResourceName(name)] = amounts[name].quantity(field+"."+name, bad)
	}
	return out
}

func amounts(list corev1.ResourceList) map[string]Amount {
	out := map[string]Amount{}
	for name, quantity := range list {
		out[string(name)] = Amount(quantity.String())
	}
	return out
}

func add(bad *config.Error, field, detail string) {
	bad.Problems = append(bad.Problems, config.Problem{Field: field, Detail: detail})
}
