package syncer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/controlplane/controlplanetest"
	"nestling.dev/nestling/pkg/controlplane/serviceip"
	"nestling.dev/nestling/syncer"
	"nestling.dev/nestling/syncer/engine"
	"nestling.dev/nestling/syncer/resource"
)

// newAddressedTenant has the admission plugin in its API server, as tenants have.
func newAddressedTenant(t *testing.T, name string) tenant {
	t.Helper()
	host, err := kubernetes.NewForConfig(hostServer.Config)
	require.NoError(t, err)
	var running atomic.Pointer[syncer.Syncer]
	allocator := &serviceip.Host{
		Services: host.CoreV1(), FieldManager: engine.FieldManager,
		Translate: func(virtual *corev1.Service) (*corev1.Service, error) { return running.Load().HostService(virtual) },
	}
	server := controlplanetest.Start(t, controlplanetest.Options{Configure: func(options *controlplane.APIServerOptions) {
		options.ServiceCIDR = "10.0.0.0/12" // the host's is within
		options.MutatingLast = []controlplane.AdmissionPlugin{{Name: serviceip.PluginName, New: serviceip.Factory(serviceip.Options{
			Allocator: func() serviceip.Allocator {
				if running.Load() == nil {
					return nil
				}
				return allocator
			},
			Families: []corev1.IPFamily{corev1.IPv4Protocol},
		})}}
	}})
	// Its node ports are the host's for as long as its host Services are there, and another
	// virtual server, without the plugin, may draw one of them for itself. They go when the
	// syncer has stopped, which would make them again: clean-ups run last first.
	t.Cleanup(func() { deleteHostServices(t, host, name) })
	return newTenantOf(t, name, server, func(s *syncer.Syncer) { running.Store(s) })
}

func deleteHostServices(t *testing.T, host kubernetes.Interface, namespace string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	services, err := host.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	for _, service := range services.Items {
		err := host.CoreV1().Services(namespace).Delete(ctx, service.Name, metav1.DeleteOptions{})
		require.NoError(t, err)
	}
}

// record is every address and UID that a Service of each name was ever seen with.
type record struct {
	mu   sync.Mutex
	seen map[string]map[string]bool
}

// follow watches a namespace until the test ends.
func (r *record) follow(x tenant, side string, client kubernetes.Interface, nameOf func(*corev1.Service) string) {
	x.Helper()
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(x.name))
	saw := func(object any) {
		service := object.(*corev1.Service)
		r.mu.Lock()
		defer r.mu.Unlock()
		for key, value := range map[string]string{"address": service.Spec.ClusterIP, side + " UID": string(service.UID)} {
			key = nameOf(service) + " " + key
			if r.seen[key] == nil {
				r.seen[key] = map[string]bool{}
			}
			r.seen[key][value] = true
		}
	}
	informer := factory.Core().V1().Services().Informer()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: saw, UpdateFunc: func(_, object any) { saw(object) }})
	require.NoError(x, err)
	ctx, cancel := context.WithCancel(context.Background())
	factory.Start(ctx.Done())
	x.Cleanup(func() { cancel(); factory.Shutdown() })
	require.True(x, cache.WaitForCacheSync(x.Context().Done(), informer.HasSynced))
}

// Watch point of the Services: whoever makes one and however, both sides agree on its
// address from the first answer on, and neither side ever sees another Service of its name.
func TestAServiceHasOneAddressFromTheFirstAnswerOn(t *testing.T) {
	x := newAddressedTenant(t, "addresses")
	seen := &record{seen: map[string]map[string]bool{}}
	seen.follow(x, "virtual", x.virtual, func(service *corev1.Service) string { return service.Name })
	seen.follow(x, "host", x.host, func(service *corev1.Service) string { return service.Annotations[resource.AnnotationName] })
	services := x.virtual.CoreV1().Services(x.name)

	ports := corev1apply.ServicePort().WithName("http").WithPort(80).WithProtocol(corev1.ProtocolTCP)
	ways := map[string]func() *corev1.Service{
		"by-client": func() *corev1.Service {
			made, err := services.Create(t.Context(), parse[corev1.Service](x, `{metadata: {name: by-client}, spec: {selector: {app: web}, ports: [{name: http, port: 80}]}}`), metav1.CreateOptions{})
			require.NoError(t, err)
			return made
		},
		"by-kubectl": func() *corev1.Service { return x.kubectlApply("by-kubectl", "NodePort", 80) },
		"by-server-side-apply": func() *corev1.Service {
			made, err := services.Apply(t.Context(), corev1apply.Service("by-server-side-apply", x.name).
				WithSpec(corev1apply.ServiceSpec().WithType(corev1.ServiceTypeLoadBalancer).WithSelector(map[string]string{"app": "web"}).WithPorts(ports)), metav1.ApplyOptions{FieldManager: "tool"})
			require.NoError(t, err)
			return made
		},
		"by-controller": func() *corev1.Service {
			// One that runs in the tenant, which owns what it makes.
			config := rest.CopyConfig(&rest.Config{Host: x.config.Host, TLSClientConfig: x.config.TLSClientConfig, QPS: -1})
			config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + x.name + ":operator", Groups: []string{"system:masters"}}
			operator, err := kubernetes.NewForConfig(config)
			require.NoError(t, err)
			owner := metav1.OwnerReference{APIVersion: "v1", Kind: "ServiceAccount", Name: "default", UID: "owner", Controller: new(true)}
			made, err := operator.CoreV1().Services(x.name).Create(t.Context(), &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Name: "by-controller", OwnerReferences: []metav1.OwnerReference{owner}},
				Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
			}, metav1.CreateOptions{})
			require.NoError(t, err)
			return made
		},
	}
	for name, create := range ways {
		made := create()
		host, err := x.host.CoreV1().Services(x.name).Get(t.Context(), x.hostName(name), metav1.GetOptions{})
		require.NoError(t, err, "it is on the host before the answer")
		require.Empty(t, cmp.Diff(addressesOf(made), addressesOf(host)), name)

		// Each of these is a way to lose an address: a file without it, a replacement, a change of type.
		_, err = services.Apply(t.Context(), corev1apply.Service(name, x.name).WithSpec(corev1apply.ServiceSpec().WithPorts(ports)), metav1.ApplyOptions{FieldManager: "second", Force: true})
		require.NoError(t, err)
		x.kubectlApply(name, "NodePort", 80)
		x.kubectlApply(name, "NodePort", 81)
		for _, kind := range []corev1.ServiceType{"LoadBalancer", "ClusterIP", "NodePort", "ClusterIP"} {
			_, err = services.Patch(t.Context(), name, types.MergePatchType, fmt.Appendf(nil, `{"spec":{"type":%q}}`, kind), metav1.PatchOptions{})
			require.NoError(t, err)
		}
		_, err = services.Patch(t.Context(), name, types.StrategicMergePatchType, []byte(`{"spec":{"type":"NodePort","selector":null,"sessionAffinity":"ClientIP"}}`), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		require.NoError(t, err)
		last, err := services.Patch(t.Context(), name, types.StrategicMergePatchType, []byte(`{"spec":{"type":"NodePort","selector":null,"sessionAffinity":"ClientIP"}}`), metav1.PatchOptions{})
		require.NoError(t, err)
		x.eventually(name+" ends up the same on both sides", func() (string, error) {
			host, err := x.host.CoreV1().Services(x.name).Get(t.Context(), x.hostName(name), metav1.GetOptions{})
			if err != nil {
				return "", err
			}
			return cmp.Diff([]any{string(last.UID), last.Spec}, []any{host.Annotations[resource.AnnotationUID], host.Spec}), nil
		})
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	require.Len(t, seen.seen, 3*len(ways))
	for what, values := range seen.seen {
		require.Len(t, values, 1, what)
	}
}

// What a deleted Service had is free for another at once, as on any cluster.
func TestANodePortIsFreeWithItsService(t *testing.T) {
	x := newAddressedTenant(t, "ports")
	services := x.virtual.CoreV1().Services(x.name)
	var port int32
	for round := range 20 {
		name := fmt.Sprintf("web-%d", round)
		made, err := services.Create(t.Context(), &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Port: 80, NodePort: port}}},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
		port = made.Spec.Ports[0].NodePort
		x.eventually("the syncer knows which Service it is", func() (string, error) {
			host, err := x.host.CoreV1().Services(x.name).Get(t.Context(), x.hostName(name), metav1.GetOptions{})
			if err != nil {
				return "", err
			}
			return cmp.Diff(string(made.UID), host.Annotations[resource.AnnotationUID]), nil
		})
		require.NoError(t, services.Delete(t.Context(), name, metav1.DeleteOptions{}))
	}
}

// kubectlApply sends what kubectl's apply does: a create with the file in an annotation,
// or a patch made of that annotation, the file and what there is.
func (x tenant) kubectlApply(name, kind string, port int) *corev1.Service {
	x.Helper()
	const last = "kubectl.kubernetes.io/last-applied-configuration"
	file := fmt.Sprintf(`{"apiVersion":"v1","kind":"Service","metadata":{"annotations":{},"name":%q,"namespace":%q},"spec":{"ports":[{"name":"p%[3]d","port":%[3]d}],"selector":{"app":"web"},"type":%[4]q}}`+"\n", name, x.name, port, kind)
	services := x.virtual.CoreV1().Services(x.name)
	if _, err := services.Get(x.Context(), name, metav1.GetOptions{}); err != nil {
		wanted := &corev1.Service{}
		require.NoError(x, json.Unmarshal([]byte(file), wanted))
		wanted.Annotations = map[string]string{last: file}
		made, err := services.Create(x.Context(), wanted, metav1.CreateOptions{FieldManager: "kubectl-client-side-apply"})
		require.NoError(x, err)
		return made
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"annotations": map[string]string{last: file}},
		"spec": map[string]any{
			"$setElementOrder/ports": []any{map[string]any{"port": port}}, "ports": []any{map[string]any{"name": fmt.Sprint("p", port), "port": port}},
			"selector": map[string]string{"app": "web"}, "type": kind,
		},
	})
	require.NoError(x, err)
	patched, err := services.Patch(x.Context(), name, types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-client-side-apply"})
	require.NoError(x, err)
	return patched
}

// addressesOf is what the host gives to a Service.
func addressesOf(service *corev1.Service) []any {
	out := []any{service.Spec.ClusterIPs, service.Spec.IPFamilies, service.Spec.HealthCheckNodePort}
	for _, port := range service.Spec.Ports {
		out = append(out, port.NodePort)
	}
	return out
}
