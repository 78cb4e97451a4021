package skew

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/controlplane/controlplanetest"
	"nestling.dev/nestling/syncer"
	"nestling.dev/nestling/syncer/engine"
	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
)

// oldAPIServer is what `make test-skew` builds.
const oldAPIServer = "../../bin/host-old/kube-apiserver"

const name = "old" // of the tenant and of both namespaces

// TestOlderHost runs what a tenant needs on a host of Kubernetes v1.34.
func TestOlderHost(t *testing.T) {
	if _, err := os.Stat(oldAPIServer); err != nil {
		t.Skipf("no API server of an older Kubernetes here: make test-skew builds one, which takes six minutes of a processor (%v)", err)
	}
	x := start(t)
	version, err := x.host.Discovery().ServerVersion()
	require.NoError(t, err)
	require.Equal(t, "34", version.Minor)
	lines := []string{
		"# The last result of `make test-skew`", "",
		fmt.Sprintf("Host: kube-apiserver %s. Tenant: the API server of this module.", version.GitVersion), "",
	}
	for _, story := range []struct {
		name string
		tell func(t *testing.T) (figure string)
	}{
		{"a field that the host does not know is told of once, and never written", x.unknownField},
		{"a field that the host drops is written once", x.droppedField},
		{"every kind goes there and back", x.everyKind},
	} {
		figure := ""
		passed := t.Run(story.name, func(t *testing.T) { figure = story.tell(t) })
		t.Log(figure)
		lines = append(lines, fmt.Sprintf("- %s: %s. %s", map[bool]string{true: "passed", false: "FAILED"}[passed], story.name, figure))
	}
	if path := os.Getenv("NESTLING_SKEW_RESULTS"); path != "" {
		require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644))
	}
}

type tenant struct {
	virtual, host kubernetes.Interface
	writes        *writes
}

func start(t *testing.T) *tenant {
	t.Helper()
	// An API of the newest version, off by default: its field in pods is one that v1.34
	// does not have.
	virtual := controlplanetest.Start(t, controlplanetest.Options{
		FeatureGates: map[string]bool{"GenericWorkload": true},
		Configure: func(options *controlplane.APIServerOptions) {
			options.ExtraArgs = map[string]string{"runtime-config": "scheduling.k8s.io/v1alpha2=true"}
		},
	})
	host, stop, err := controlplanetest.RunProgram(oldAPIServer, "--feature-gates=PreferSameTrafficDistribution=false")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, stop()) })
	x := &tenant{virtual: kubernetes.NewForConfigOrDie(virtual.Config), host: kubernetes.NewForConfigOrDie(host.Config), writes: &writes{}}
	for client, account := range map[kubernetes.Interface]string{x.virtual: "default", x.host: "workload"} {
		_, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		require.NoError(t, err)
		_, err = client.CoreV1().ServiceAccounts(name).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account}}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	kinds := resources.Options{Unreadable: map[string]bool{}}
	absent, err := engine.Unserved(t.Context(), x.host.Discovery().RESTClient(), resources.Registry(kinds))
	require.NoError(t, err)
	for _, kind := range absent {
		t.Logf("the host does not serve %s", kind.Resource)
		kinds.Unreadable[kind.Resource.GroupResource().String()] = true
	}
	hostConfig := rest.CopyConfig(host.Config)
	hostConfig.Wrap(x.writes.wrap)
	s, err := syncer.New(syncer.Options{
		Virtual: virtual.Config, Host: hostConfig, Kinds: kinds, Breaker: engine.Breaker{Share: 1},
		Env: resource.Env{
			Tenant: name, HostNamespace: name, Identity: "identity", ClusterDomain: "cluster.local",
			APIServerIP: "10.0.0.77", APIServerPort: 443, WorkloadServiceAccount: "workload",
		},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- s.Run(ctx, func() { close(ready) }) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- err
		t.Fatalf("the syncer ended: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("the syncer is not ready")
	}
	return x
}

// writes counts the patches of each host object.
type writes struct {
	mu      sync.Mutex
	patches map[string]int
}

func (w *writes) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		if request.Method == http.MethodPatch {
			w.mu.Lock()
			if w.patches == nil {
				w.patches = map[string]int{}
			}
			w.patches[request.URL.Path[strings.LastIndex(request.URL.Path, "/")+1:]]++
			w.mu.Unlock()
		}
		return next.RoundTrip(request)
	})
}

func (w *writes) of(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.patches[name]
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

func hostName(object string) string { return naming.Host(name, name, object) }

// events of one reason about one object.
func (x *tenant) events(t *testing.T, object, reason string) []corev1.Event {
	t.Helper()
	list, err := x.virtual.CoreV1().Events(name).List(t.Context(), metav1.ListOptions{FieldSelector: "reason=" + reason + ",involvedObject.name=" + object})
	require.NoError(t, err)
	return list.Items
}

// touch changes an annotation of a host object again and again, and waits each time until
// the syncer must have seen it: a change of the virtual object has come over.
func (x *tenant) touch(t *testing.T, times int, host, virtual func(patch []byte) error, seen func(ctx context.Context, value string) (bool, error)) {
	t.Helper()
	for i := range times {
		require.NoError(t, host(fmt.Appendf(nil, `{"metadata":{"annotations":{"example.org/host":"%d"}}}`, i)))
		require.NoError(t, virtual(fmt.Appendf(nil, `{"metadata":{"annotations":{"example.org/virtual":"%d"}}}`, i)))
		controlplanetest.Eventually(t, "the change comes over", func(ctx context.Context) (string, error) {
			ok, err := seen(ctx, fmt.Sprint(i))
			if err != nil || ok {
				return "", err
			}
			return "not yet", nil
		})
	}
}

func (x *tenant) unknownField(t *testing.T) string {
	pods := x.virtual.CoreV1().Pods(name)
	pod, err := pods.Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "ganged"},
		Spec: corev1.PodSpec{
			Containers:      []corev1.Container{{Name: "main", Image: "example.org/main"}},
			SchedulingGroup: &corev1.PodSchedulingGroup{PodGroupName: new("gang")},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.NotNil(t, pod.Spec.SchedulingGroup, "the tenant's API has the field")
	hostPods := x.host.CoreV1().Pods(name)
	controlplanetest.Eventually(t, "the pod is on the host", func(ctx context.Context) (string, error) {
		_, err := hostPods.Get(ctx, hostName("ganged"), metav1.GetOptions{})
		return "", err
	})
	const times = 5
	x.touch(t, times,
		func(patch []byte) error {
			_, err := hostPods.Patch(t.Context(), hostName("ganged"), types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		},
		func(patch []byte) error {
			_, err := pods.Patch(t.Context(), "ganged", types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		},
		func(ctx context.Context, value string) (bool, error) {
			pod, err := hostPods.Get(ctx, hostName("ganged"), metav1.GetOptions{})
			return err == nil && pod.Annotations["example.org/virtual"] == value, err
		})
	require.LessOrEqual(t, x.writes.of(hostName("ganged")), 3*times, "one for each change, and a few by a cache that is behind")
	controlplanetest.Eventually(t, "its user is told", func(context.Context) (string, error) {
		if len(x.events(t, "ganged", engine.ReasonHostLacksField)) == 0 {
			return "not yet", nil
		}
		return "", nil
	})
	events := x.events(t, "ganged", engine.ReasonHostLacksField)
	require.Len(t, events, 1)
	require.EqualValues(t, 1, events[0].Count)
	require.Contains(t, events[0].Message, "spec.schedulingGroup")
	return fmt.Sprintf("%d changes on both sides, %d patches; the user reads: %s", times, x.writes.of(hostName("ganged")), events[0].Message)
}

func (x *tenant) droppedField(t *testing.T) string {
	_, err := x.virtual.CoreV1().Services(name).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "manual"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	slicesOf := x.virtual.DiscoveryV1().EndpointSlices(name)
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "manual-1", Labels: map[string]string{discoveryv1.LabelServiceName: "manual"}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Port: new(int32(80))}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.1"}}},
	}
	_, err = slicesOf.Create(t.Context(), slice, metav1.CreateOptions{})
	require.NoError(t, err)
	hostSlices := x.host.DiscoveryV1().EndpointSlices(name)
	controlplanetest.Eventually(t, "the slice is on the host", func(ctx context.Context) (string, error) {
		_, err := hostSlices.Get(ctx, hostName("manual-1"), metav1.GetOptions{})
		return "", err
	})
	// The host has the field in its schema, but it is off there.
	_, err = slicesOf.Patch(t.Context(), "manual-1", types.MergePatchType,
		[]byte(`{"endpoints":[{"addresses":["192.0.2.1"],"hints":{"forNodes":[{"name":"node-1"}]}}]}`), metav1.PatchOptions{})
	require.NoError(t, err)
	controlplanetest.Eventually(t, "its user is told", func(context.Context) (string, error) {
		if len(x.events(t, "manual-1", engine.ReasonHostLacksField)) == 0 {
			return "not yet", nil
		}
		return "", nil
	})
	host, err := hostSlices.Get(t.Context(), hostName("manual-1"), metav1.GetOptions{})
	require.NoError(t, err)
	if host.Endpoints[0].Hints != nil {
		require.Empty(t, host.Endpoints[0].Hints.ForNodes)
	}
	before := x.writes.of(hostName("manual-1"))
	const times = 5
	x.touch(t, times,
		func(patch []byte) error {
			_, err := hostSlices.Patch(t.Context(), hostName("manual-1"), types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		},
		func(patch []byte) error {
			_, err := slicesOf.Patch(t.Context(), "manual-1", types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		},
		func(ctx context.Context, value string) (bool, error) {
			slice, err := hostSlices.Get(ctx, hostName("manual-1"), metav1.GetOptions{})
			return err == nil && slice.Annotations["example.org/virtual"] == value, err
		})
	require.LessOrEqual(t, x.writes.of(hostName("manual-1"))-before, 3*times, "one for each change, and a few by a cache that is behind; it was hundreds")
	events := x.events(t, "manual-1", engine.ReasonHostLacksField)
	require.Len(t, events, 1)
	return fmt.Sprintf("%d patches before, %d more for %d changes on both sides; the user reads: %s", before, x.writes.of(hostName("manual-1"))-before, times, events[0].Message)
}

func (x *tenant) everyKind(t *testing.T) string {
	meta := metav1.ObjectMeta{Name: "all", Annotations: map[string]string{"nestling.dev/sync": "true"}}
	selector := metav1.LabelSelector{MatchLabels: map[string]string{"app": "all"}}
	objects := []runtime.Object{
		&corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"a": "b"}},
		&corev1.Secret{ObjectMeta: meta, StringData: map[string]string{"a": "b"}},
		&corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Selector: selector.MatchLabels, Ports: []corev1.ServicePort{{Port: 80}}, TrafficDistribution: new("PreferClose")}},
		&corev1.PersistentVolumeClaim{ObjectMeta: meta, Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOncePod}, StorageClassName: new("fast"),
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{"storage": apiresource.MustParse("1Gi")}},
		}},
		&networkingv1.Ingress{ObjectMeta: meta, Spec: networkingv1.IngressSpec{DefaultBackend: &networkingv1.IngressBackend{
			Service: &networkingv1.IngressServiceBackend{Name: "all", Port: networkingv1.ServiceBackendPort{Number: 80}},
		}}},
		&networkingv1.NetworkPolicy{ObjectMeta: meta, Spec: networkingv1.NetworkPolicySpec{PodSelector: selector}},
		&policyv1.PodDisruptionBudget{ObjectMeta: meta, Spec: policyv1.PodDisruptionBudgetSpec{Selector: &selector, MinAvailable: new(intstr.FromInt32(1))}},
		&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "all", Labels: selector.MatchLabels},
			Spec: corev1.PodSpec{
				Containers:     []corev1.Container{{Name: "main", Image: "example.org/main", RestartPolicy: nil, Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{"cpu": apiresource.MustParse("1")}}}},
				InitContainers: []corev1.Container{{Name: "side", Image: "example.org/side", RestartPolicy: new(corev1.ContainerRestartPolicyAlways)}},
				Volumes:        []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "all"}}}},
			},
		},
	}
	for _, object := range objects {
		require.NoError(t, create(t.Context(), x.virtual, object), "%T", object)
	}
	gets := map[string]func(ctx context.Context) error{
		"ConfigMap": func(ctx context.Context) error {
			return errOf(x.host.CoreV1().ConfigMaps(name).Get(ctx, hostName("all"), metav1.GetOptions{}))
		},
		"Secret": func(ctx context.Context) error {
			return errOf(x.host.CoreV1().Secrets(name).Get(ctx, hostName("all"), metav1.GetOptions{}))
		},
		"Service": func(ctx context.Context) error {
			return errOf(x.host.CoreV1().Services(name).Get(ctx, hostName("all"), metav1.GetOptions{}))
		},
		"Claim": func(ctx context.Context) error {
			return errOf(x.host.CoreV1().PersistentVolumeClaims(name).Get(ctx, hostName("all"), metav1.GetOptions{}))
		},
		"Ingress": func(ctx context.Context) error {
			return errOf(x.host.NetworkingV1().Ingresses(name).Get(ctx, hostName("all"), metav1.GetOptions{}))
		},
		"NetworkPolicy": func(ctx context.Context) error {
			return errOf(x.host.NetworkingV1().NetworkPolicies(name).Get(ctx, hostName("all"), metav1.GetOptions{}))
		},
		"PodDisruptionBudget": func(ctx context.Context) error {
			return errOf(x.host.PolicyV1().PodDisruptionBudgets(name).Get(ctx, hostName("all"), metav1.GetOptions{}))
		},
		"Pod": func(ctx context.Context) error {
			return errOf(x.host.CoreV1().Pods(name).Get(ctx, hostName("all"), metav1.GetOptions{}))
		},
	}
	for kind, get := range gets {
		controlplanetest.Eventually(t, kind+" is on the host", func(ctx context.Context) (string, error) { return "", get(ctx) })
	}
	_, err := x.host.CoreV1().Pods(name).Patch(t.Context(), hostName("all"), types.MergePatchType,
		[]byte(`{"status":{"phase":"Running","podIP":"192.0.2.7","podIPs":[{"ip":"192.0.2.7"}],"conditions":[{"type":"Ready","status":"True"}]}}`), metav1.PatchOptions{}, "status")
	require.NoError(t, err)
	controlplanetest.Eventually(t, "the status comes back", func(ctx context.Context) (string, error) {
		pod, err := x.virtual.CoreV1().Pods(name).Get(ctx, "all", metav1.GetOptions{})
		if err != nil || pod.Status.Phase != corev1.PodRunning || pod.Status.PodIP != "192.0.2.7" {
			return "not yet", err
		}
		return "", nil
	})
	list, err := x.virtual.CoreV1().Events(name).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	for _, event := range list.Items {
		if event.InvolvedObject.Name == "all" && slices.Contains([]string{engine.ReasonRejected, engine.ReasonWaiting, engine.ReasonHostLacksField}, event.Reason) {
			t.Errorf("%s %s: %s: %s", event.InvolvedObject.Kind, event.InvolvedObject.Name, event.Reason, event.Message)
		}
	}
	require.NoError(t, x.virtual.CoreV1().Pods(name).Delete(t.Context(), "all", metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}))
	controlplanetest.Eventually(t, "the host pod goes", func(ctx context.Context) (string, error) {
		if err := gets["Pod"](ctx); !apierrors.IsNotFound(err) {
			return "it is there", err
		}
		return "", nil
	})
	return fmt.Sprintf("%d kinds, the status of a pod back, and its deletion", len(gets))
}

func errOf(_ any, err error) error { return err }

func create(ctx context.Context, client kubernetes.Interface, object runtime.Object) error {
	options := metav1.CreateOptions{}
	switch object := object.(type) {
	case *corev1.ConfigMap:
		return errOf(client.CoreV1().ConfigMaps(name).Create(ctx, object, options))
	case *corev1.Secret:
		return errOf(client.CoreV1().Secrets(name).Create(ctx, object, options))
	case *corev1.Service:
		return errOf(client.CoreV1().Services(name).Create(ctx, object, options))
	case *corev1.PersistentVolumeClaim:
		return errOf(client.CoreV1().PersistentVolumeClaims(name).Create(ctx, object, options))
	case *networkingv1.Ingress:
		return errOf(client.NetworkingV1().Ingresses(name).Create(ctx, object, options))
	case *networkingv1.NetworkPolicy:
		return errOf(client.NetworkingV1().NetworkPolicies(name).Create(ctx, object, options))
	case *policyv1.PodDisruptionBudget:
		return errOf(client.PolicyV1().PodDisruptionBudgets(name).Create(ctx, object, options))
	case *corev1.Pod:
		return errOf(client.CoreV1().Pods(name).Create(ctx, object, options))
	}
	return fmt.Errorf("no client for %T", object)
}
