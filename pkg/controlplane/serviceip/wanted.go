package serviceip

import (
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/storage/names"
	apiservice "k8s.io/kubernetes/pkg/api/service"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/registry/core/service"
)

// created is the Service that a create will write, short of its addresses; nil if it
// will fail, so that the API server may say why and the host is not bothered.
func (p *Plugin) created(ctx context.Context, request admission.Attributes, asked *api.Service) (*api.Service, error) {
	wanted := asked.DeepCopy()
	wanted.ObjectMeta = metav1.ObjectMeta{
		Name: asked.Name, GenerateName: asked.GenerateName, Namespace: request.GetNamespace(),
		Labels: wanted.Labels, Annotations: wanted.Annotations, Finalizers: wanted.Finalizers, OwnerReferences: wanted.OwnerReferences,
	}
	if wanted.Name == "" && wanted.GenerateName != "" {
		// The host has to know the name, so it is chosen here and not at the write.
		wanted.Name = names.SimpleNameGenerator.GenerateName(wanted.GenerateName)
	}
	normalizeClusterIPs(wanted, nil)
	service.Strategy.PrepareForCreate(ctx, wanted)
	if len(service.Strategy.Validate(ctx, checkable(wanted))) > 0 {
		return nil, nil
	}
	if asked.Name != "" {
		// Or the host Service of the one that exists would change with this request.
		exists, err := p.exists(ctx, wanted.Namespace, wanted.Name)
		if err != nil {
			return nil, apierrors.NewInternalError(err)
		}
		if exists {
			return nil, nil
		}
	}
	return wanted, nil
}

// updated is the Service that an update will write, short of new addresses; nil if it
// needs none, or will fail.
func updated(ctx context.Context, request admission.Attributes, asked *api.Service) (*api.Service, error) {
	old, ok := request.GetOldObject().(*api.Service)
	if !ok {
		return nil, apierrors.NewBadRequest("old object is not a Service")
	}
	if asked.ResourceVersion != "" && asked.ResourceVersion != old.ResourceVersion {
		return nil, nil // a conflict
	}
	wanted := asked.DeepCopy()
	wanted.Name, wanted.Namespace, wanted.UID, wanted.ResourceVersion = old.Name, old.Namespace, old.UID, old.ResourceVersion
	keepAllocated(wanted, old)
	normalizeClusterIPs(wanted, old)
	service.Strategy.PrepareForUpdate(ctx, wanted, old)
	if !hasIP(wanted) || !needsMore(wanted, old) || len(service.Strategy.ValidateUpdate(ctx, checkable(wanted), old)) > 0 {
		return nil, nil
	}
	return wanted, nil
}

// checkable is wanted as validation wants to see it, which comes after allocation: it
// does without ClusterIPs and node ports, but not without a health check port.
func checkable(wanted *api.Service) *api.Service {
	if !apiservice.NeedsHealthCheck(wanted) || wanted.Spec.HealthCheckNodePort != 0 {
		return wanted
	}
	out := wanted.DeepCopy()
	out.Spec.HealthCheckNodePort = 1 // any: ranges are the allocator's business
	return out
}

// needsMore tells whether wanted has or lacks an address that old does not have. External
// IPs are such, if only to be refused at once.
func needsMore(wanted, old *api.Service) bool {
	return !hasIP(old) ||
		len(wanted.Spec.ExternalIPs) > 0 && !slices.Equal(wanted.Spec.ExternalIPs, old.Spec.ExternalIPs) ||
		needsSecondIP(wanted, old) ||
		needsNodePort(wanted, old) ||
		apiservice.NeedsHealthCheck(wanted) && !apiservice.NeedsHealthCheck(old)
}

// needsSecondIP tells whether a Service goes from one stack to two.
func needsSecondIP(wanted, old *api.Service) bool {
	policy := func(service *api.Service) api.IPFamilyPolicy {
		if service.Spec.IPFamilyPolicy == nil {
			return api.IPFamilyPolicySingleStack
		}
		return *service.Spec.IPFamilyPolicy
	}
	return len(wanted.Spec.IPFamilies) > len(old.Spec.IPFamilies) ||
		len(wanted.Spec.ClusterIPs) > len(old.Spec.ClusterIPs) ||
		policy(old) != policy(wanted) && policy(wanted) != api.IPFamilyPolicySingleStack && len(old.Spec.ClusterIPs) < 2
}

// needsNodePort tells whether a port has no node port and should, or has a new one.
func needsNodePort(wanted, old *api.Service) bool {
	if wanted.Spec.Type == api.ServiceTypeClusterIP {
		return false
	}
	had := map[int32]bool{}
	for _, port := range old.Spec.Ports {
		had[port.NodePort] = true
	}
	for _, port := range wanted.Spec.Ports {
		if port.NodePort == 0 && allocatesNodePorts(wanted) || port.NodePort != 0 && !had[port.NodePort] {
			return true
		}
	}
	return false
}

func allocatesNodePorts(service *api.Service) bool {
	switch service.Spec.Type {
	case api.ServiceTypeNodePort:
		return true
	case api.ServiceTypeLoadBalancer:
		allocate := service.Spec.AllocateLoadBalancerNodePorts
		return allocate == nil || *allocate
	}
	return false
}
