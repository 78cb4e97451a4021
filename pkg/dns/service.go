package dns

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	applydiscovery "k8s.io/client-go/applyconfigurations/discovery/v1"
	clientset "k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
)

// The Service as which every cluster has its DNS. People, and NetworkPolicies, look for it.
const (
	ServiceNamespace = metav1.NamespaceSystem
	ServiceName      = "kube-dns"
)

const (
	// servicePort is that of the Service, for both protocols.
	servicePort = 53
	// fieldManager of what the keeper writes; it also says whose the EndpointSlice is.
	fieldManager = "nestling-dns"
	// retryInterval is the time between two attempts to write.
	retryInterval = time.Second
)

// keeper makes the Service and its EndpointSlice, and makes them again when somebody
// changes or deletes them. There is no second host Service: the syncer leaves it alone, and
// so does the admission of Service IPs.
type keeper struct {
	virtual clientset.Interface
	service Service
	port    int
	dirty   chan struct{} // holds one: something has changed since the last look
}

func newKeeper(virtual clientset.Interface, service Service, port int) *keeper {
	return &keeper{virtual: virtual, service: service, port: port, dirty: make(chan struct{}, 1)}
}

// changed is told of a Service, as NAME.NAMESPACE.
func (k *keeper) changed(service string) {
	if service != ServiceName+"."+ServiceNamespace {
		return
	}
	select {
	case k.dirty <- struct{}{}:
	default:
	}
}

// run keeps them right until ctx ends. Queries are answered without them, so that a failure
// is logged and tried again.
func (k *keeper) run(ctx context.Context) {
	said := ""
	for {
		retry := (<-chan time.Time)(nil)
		if err := k.ensure(ctx); err != nil && ctx.Err() == nil {
			if said != err.Error() {
				said = err.Error()
				klog.FromContext(ctx).Info("Cannot write the tenant's DNS Service yet", "err", err)
			}
			retry = time.After(retryInterval)
		}
		select {
		case <-ctx.Done():
			return
		case <-retry:
		case <-k.dirty:
		}
	}
}

// ensure writes both. Where nothing differs the API server writes nothing.
func (k *keeper) ensure(ctx context.Context) error {
	options := metav1.ApplyOptions{FieldManager: fieldManager, Force: true}
	services := k.virtual.CoreV1().Services(ServiceNamespace)
	if _, err := services.Apply(ctx, k.wanted(), options); err != nil {
		return errors.Join(fmt.Errorf("Service %s/%s: %w", ServiceNamespace, ServiceName, err), k.clear(ctx, err))
	}
	if k.service.Endpoint == nil {
		return nil
	}
	if _, err := k.virtual.DiscoveryV1().EndpointSlices(ServiceNamespace).Apply(ctx, k.slice(), options); err != nil {
		return fmt.Errorf("EndpointSlice %s/%s: %w", ServiceNamespace, ServiceName, err)
	}
	return nil
}

// clear deletes a Service of our name that was somebody's, and has another address for good.
func (k *keeper) clear(ctx context.Context, refused error) error {
	if !apierrors.IsInvalid(refused) {
		return nil
	}
	services := k.virtual.CoreV1().Services(ServiceNamespace)
	live, err := services.Get(ctx, ServiceName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if live.Spec.ClusterIP == k.service.IP.String() {
		return nil
	}
	return services.Delete(ctx, ServiceName, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &live.UID}})
}

// wanted has the names and labels that kubeadm gives it, and no selector: no pod of the
// tenant is behind it.
func (k *keeper) wanted() *applycore.ServiceApplyConfiguration {
	port := func(name string, protocol corev1.Protocol) *applycore.ServicePortApplyConfiguration {
		return applycore.ServicePort().WithName(name).WithProtocol(protocol).WithPort(servicePort).WithTargetPort(intstr.FromInt(k.port))
	}
	return applycore.Service(ServiceName, ServiceNamespace).
		WithLabels(map[string]string{
			"k8s-app":                       ServiceName,
			"kubernetes.io/cluster-service": "true",
			"kubernetes.io/name":            "CoreDNS",
		}).
		WithSpec(applycore.ServiceSpec().
			WithType(corev1.ServiceTypeClusterIP).
			WithClusterIP(k.service.IP.String()).
			WithPorts(port("dns", corev1.ProtocolUDP), port("dns-tcp", corev1.ProtocolTCP)))
}

func (k *keeper) slice() *applydiscovery.EndpointSliceApplyConfiguration {
	family := discoveryv1.AddressTypeIPv4
	if k.service.Endpoint.To4() == nil {
		family = discoveryv1.AddressTypeIPv6
	}
	port := func(name string, protocol corev1.Protocol) *applydiscovery.EndpointPortApplyConfiguration {
		return applydiscovery.EndpointPort().WithName(name).WithProtocol(protocol).WithPort(int32(k.port))
	}
	return applydiscovery.EndpointSlice(ServiceName, ServiceNamespace).
		WithLabels(map[string]string{
			discoveryv1.LabelServiceName: ServiceName,
			discoveryv1.LabelManagedBy:   fieldManager,
		}).
		WithAddressType(family).
		WithEndpoints(applydiscovery.Endpoint().
			WithAddresses(k.service.Endpoint.String()).
			WithConditions(applydiscovery.EndpointConditions().WithReady(true))).
		WithPorts(port("dns", corev1.ProtocolUDP), port("dns-tcp", corev1.ProtocolTCP))
}
