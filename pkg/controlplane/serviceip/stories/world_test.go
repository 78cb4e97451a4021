// Package stories tells what users and hosts do with Services, between two real API
// servers: one is the host, the other a tenant's with the plugin in it. There is no
// syncer; where it matters, a story plays it.
package stories

import (
	"context"
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/controlplane/controlplanetest"
	"nestling.dev/nestling/pkg/controlplane/serviceip"
	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
)

const (
	tenantName    = "t"
	hostNamespace = "hosts"
	identity      = "identity-of-t"
)

// world is the two servers. The allocator can be exchanged by one story at a time.
type world struct {
	virtual, host kubernetes.Interface
	allocator     serviceip.Host
	current       atomic.Pointer[serviceip.Allocator]
}

// shared is set by TestMain and not changed after.
var shared *world

func TestMain(m *testing.M) {
	flag.Parse()
	flag.VisitAll(func(f *flag.Flag) { // each check is a dozen writes; -rapid.checks=N asks for others
		if f.Name == "rapid.checks" && f.Value.String() == f.DefValue {
			_ = f.Value.Set("20")
		}
	})
	os.Exit(run(m))
}

func run(m *testing.M) int {
	hostServer, stopHost, err := controlplanetest.Run(controlplanetest.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, "host:", err)
		return 1
	}
	defer func() { _ = stopHost() }()
	shared = &world{host: kubernetes.NewForConfigOrDie(hostServer.Config)}
	shared.allocator = serviceip.Host{Services: shared.host.CoreV1(), Translate: translate, FieldManager: "nestling"}
	shared.use(&shared.allocator)
	virtualServer, stopVirtual, err := controlplanetest.Run(controlplanetest.Options{
		Configure: func(options *controlplane.APIServerOptions) {
			options.ServiceCIDR = "10.0.0.0/12" // the host's is 10.0.0.0/16
			options.MutatingLast = []controlplane.AdmissionPlugin{{
				Name: serviceip.PluginName,
				New: serviceip.Factory(serviceip.Options{
					Allocator: func() serviceip.Allocator { return *shared.current.Load() },
					Families:  []corev1.IPFamily{corev1.IPv4Protocol},
				}),
			}}
		},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "tenant:", err)
		return 1
	}
	defer func() { _ = stopVirtual() }()
	shared.virtual = kubernetes.NewForConfigOrDie(virtualServer.Config)
	_, err = shared.host.CoreV1().Namespaces().Create(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: hostNamespace}}, metav1.CreateOptions{})
	if err != nil {
		fmt.Fprintln(os.Stderr, "host namespace:", err)
		return 1
	}
	return m.Run()
}

func translate(virtual *corev1.Service) (*corev1.Service, error) {
	return resources.ServiceToHost(resource.Env{Tenant: tenantName, HostNamespace: hostNamespace, Identity: identity}, virtual)
}

func (w *world) use(allocator serviceip.Allocator) { w.current.Store(&allocator) }

// hostOf is the host Service of a virtual one.
func (w *world) hostOf(t testing.TB, namespace, name string) *corev1.Service {
	t.Helper()
	host, err := w.host.CoreV1().Services(hostNamespace).Get(t.Context(), naming.Host(tenantName, namespace, name), metav1.GetOptions{})
	require.NoError(t, err)
	return host
}

// namespace of a story's own, in the tenant's cluster.
func (w *world) namespace(t testing.TB) string {
	t.Helper()
	made, err := w.virtual.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "story-"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	return made.Name
}

// service with a spec, for a create.
func service(name string, spec corev1.ServiceSpec) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
}

func port(name string, number int32) corev1.ServicePort {
	return corev1.ServicePort{Name: name, Port: number}
}

// create a virtual Service that must succeed.
func (w *world) create(t testing.TB, namespace string, wanted *corev1.Service) *corev1.Service {
	t.Helper()
	made, err := w.virtual.CoreV1().Services(namespace).Create(t.Context(), wanted, metav1.CreateOptions{})
	require.NoError(t, err)
	return made
}

// sync plays the syncer: the host Service becomes what the virtual one is.
func (w *world) sync(t testing.TB, virtual *corev1.Service) {
	t.Helper()
	live := w.hostOf(t, virtual.Namespace, virtual.Name)
	desired, err := translate(virtual)
	require.NoError(t, err)
	desired.ResourceVersion = live.ResourceVersion
	_, err = w.host.CoreV1().Services(hostNamespace).Update(t.Context(), desired, metav1.UpdateOptions{})
	require.NoError(t, err)
}

// requireAgreement compares the addresses of both sides.
func (w *world) requireAgreement(t testing.TB, virtual *corev1.Service) {
	t.Helper()
	host := w.hostOf(t, virtual.Namespace, virtual.Name)
	require.NotEmpty(t, virtual.Spec.ClusterIP)
	require.Equal(t, host.Spec.ClusterIPs, virtual.Spec.ClusterIPs)
	require.Equal(t, host.Spec.IPFamilies, virtual.Spec.IPFamilies)
	require.Equal(t, host.Spec.HealthCheckNodePort, virtual.Spec.HealthCheckNodePort)
	require.Equal(t, nodePorts(host), nodePorts(virtual))
}

// nodePorts by protocol and number of their ports.
func nodePorts(service *corev1.Service) map[string]int32 {
	out := map[string]int32{}
	for _, port := range service.Spec.Ports {
		out[fmt.Sprintf("%s/%d", port.Protocol, port.Port)] = port.NodePort
	}
	return out
}

// unreachable is an allocator whose host does not answer.
func unreachable() serviceip.Allocator {
	client := kubernetes.NewForConfigOrDie(&rest.Config{Host: "https://127.0.0.1:1"})
	return &serviceip.Host{Services: client.CoreV1(), Translate: translate, FieldManager: "nestling"}
}
