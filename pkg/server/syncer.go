package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/controlplane/kubeletapi"
	"nestling.dev/nestling/pkg/controlplane/serviceip"
	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/pkg/pki"
	"nestling.dev/nestling/syncer"
	"nestling.dev/nestling/syncer/engine"
	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
)

// runSyncer starts the syncer once the virtual cluster has an identity: the UID of
// its kube-system namespace, stamped on every host object.
func (s *server) runSyncer(ctx context.Context, ready func()) error {
	virtual, err := s.apiServer.ClientConfig(syncerUser, "system:masters")
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(virtual)
	if err != nil {
		return fmt.Errorf("virtual client: %w", err)
	}
	identity, err := identityOf(ctx, client)
	if err != nil {
		return err
	}
	kinds, err := s.kinds(ctx)
	if err != nil {
		return err
	}
	if err := s.serveSnapshots(ctx, virtual, &kinds); err != nil {
		return err
	}
	running, err := syncer.New(syncer.Options{
		Virtual: virtual, Host: s.hostConfig,
		Env: resource.Env{
			Tenant: s.config.Tenant, HostNamespace: s.config.Host.Namespace, Identity: string(identity),
			Owner: s.owner, ClusterDomain: s.config.ClusterDomain,
			APIServerIP: s.serviceIP.String(), APIServerPort: 443,
			WorkloadServiceAccount: s.names.Workload(),
			DNSIP:                  s.dnsAddress(),
			ControlPlane:           s.controlPlane(),
			Policy:                 s.policy(),
		},
		Kinds:          kinds,
		Workers:        s.config.Sync.Workers,
		Breaker:        engine.Breaker{MinObjects: s.config.Sync.DeleteBreaker.MinObjects, Share: s.config.Sync.DeleteBreaker.Share},
		RotateTokensAt: s.config.Sync.ServiceAccountTokens.RotateAt,
		Registerer:     s.metrics.Registerer(),
	})
	if err != nil {
		return err
	}
	s.syncer.Store(running)
	return running.Run(ctx, ready)
}

// kinds leaves out what the host does not let us use, and what it does not serve: it may be
// older than the tenant, or lack custom resources.
func (s *server) kinds(ctx context.Context) (resources.Options, error) {
	out := deploy.SyncOptions(&s.config.Config)
	maps.Copy(out.Unreadable, s.unreadable)
	absent, err := engine.Unserved(ctx, s.host.Discovery().RESTClient(), resources.Registry(out))
	if err != nil {
		return out, err
	}
	for _, kind := range absent {
		klog.FromContext(ctx).Info("The host does not serve a resource; it is left out", "group", kind.Resource.Group, "version", kind.Resource.Version, "resource", kind.Resource.Resource)
		out.Unreadable[kind.Resource.GroupResource().String()] = true
	}
	return out, nil
}

// policy is what the configuration lets the tenant have of the host. Selectors were checked
// with the configuration.
func (s *server) policy() resource.Policy {
	sync, force := s.config.Sync, s.config.Pods.Force
	selector := func(text string) labels.Selector {
		if text == "" {
			return nil
		}
		out, err := labels.Parse(text)
		if err != nil {
			return labels.Nothing()
		}
		return out
	}
	return resource.Policy{
		PriorityClasses:       selector(sync.PriorityClasses.Selector),
		RuntimeClasses:        selector(sync.RuntimeClasses.Selector),
		SystemPriorityClasses: sync.PriorityClasses.System,
		RejectPriorityClasses: sync.PriorityClasses.Unavailable == config.UnavailableReject,
		ServiceAccounts:       sync.ServiceAccounts,
		Pods: resource.PodPolicy{
			Refuse:       s.config.PodRules().Refuse,
			NodeSelector: force.NodeSelector, Tolerations: force.Tolerations,
			RuntimeClass: force.RuntimeClass, PriorityClass: force.PriorityClass,
		},
	}
}

// identityOf waits for the namespace that the API server makes at its first start.
func identityOf(ctx context.Context, virtual kubernetes.Interface) (types.UID, error) {
	var identity types.UID
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		namespace, err := virtual.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		identity = namespace.UID
		return true, nil
	})
	if err != nil {
		return "", fmt.Errorf("read virtual namespace %s, whose UID is the cluster's identity: %w", metav1.NamespaceSystem, err)
	}
	return identity, nil
}

// runKubeletAPI serves the kubelet API of every node to the API server.
func (s *server) runKubeletAPI(ctx context.Context, ready func()) error {
	certificate, key, err := s.pki.Issue(pki.Leaf{CommonName: "nestling:kubelet-api", Server: true, DNSNames: []string{"kubelet"}})
	if err != nil {
		return err
	}
	s.kubelet, err = kubeletapi.New(kubeletapi.Options{
		Host: s.hostConfig, Resolver: kubeletapi.ResolverFunc(s.hostPod),
		Certificate: certificate, Key: key, ClientCA: s.pki.CAPEM(), ClientName: controlplane.KubeletClientUser,
	})
	if err != nil {
		return err
	}
	return s.kubelet.Run(ctx, ready)
}

var errNoSyncer = errors.New("the syncer has not started yet; try again")

func (s *server) hostPod(namespace, name string) (kubeletapi.Target, error) {
	running := s.syncer.Load()
	if running == nil {
		return kubeletapi.Target{}, errNoSyncer
	}
	pod, ok := running.HostPod(namespace, name)
	if !ok {
		return kubeletapi.Target{}, apierrors.NewNotFound(corev1.Resource("pods"), name)
	}
	return kubeletapi.Target{Namespace: pod.Namespace, Name: pod.Name, UID: types.UID(pod.UID), Containers: pod.Containers}, nil
}

// hostService is what a virtual Service in admission becomes on the host.
func (s *server) hostService(virtual *corev1.Service) (*corev1.Service, error) {
	running := s.syncer.Load()
	if running == nil {
		return nil, errNoSyncer
	}
	return running.HostService(virtual)
}

// serviceWords are what the host says about a Service in admission, in the tenant's words.
// There is a syncer: it has translated the Service.
func (s *server) serviceWords(virtual *corev1.Service, text string) string {
	return s.syncer.Load().Words(corev1.Resource("services"), virtual, text)
}

// admissionPlugins run after all others of the tenant's.
func (s *server) admissionPlugins() []controlplane.AdmissionPlugin {
	allocator := &serviceip.Host{
		Services: s.host.CoreV1(), Translate: s.hostService, Words: s.serviceWords, FieldManager: engine.FieldManager,
	}
	return []controlplane.AdmissionPlugin{{
		Name: serviceip.PluginName,
		New: serviceip.Factory(serviceip.Options{
			Allocator: func() serviceip.Allocator {
				// The syncer knows the identity that a host Service is stamped with.
				if s.syncer.Load() == nil {
					return nil
				}
				return allocator
			},
			Own:      s.isDNSService,
			Families: families(s.serviceIP),
		}),
	}}
}

// families of the tenant's Service range, which is that of its own Service's address.
func families(serviceIP net.IP) []corev1.IPFamily {
	if serviceIP.To4() == nil {
		return []corev1.IPFamily{corev1.IPv6Protocol}
	}
	return []corev1.IPFamily{corev1.IPv4Protocol}
}
