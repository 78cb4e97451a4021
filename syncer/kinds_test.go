package syncer_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/controlplane/controlplanetest"
	"nestling.dev/nestling/syncer"
	"nestling.dev/nestling/syncer/naming"
	syncresource "nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
)

// These stories run the whole syncer between two real API servers: what the kinds'
// golden cases promise, the API must accept. No controller or kubelet runs; the tests
// play their part. They run one after another, since a syncer syncs its whole virtual cluster.
var virtualServer, hostServer *controlplanetest.Server

func TestMain(m *testing.M) { os.Exit(controlplanetest.Main(m, &virtualServer, &hostServer)) }

// tenant has a virtual namespace and a host namespace of the same name.
type tenant struct {
	*testing.T
	name          string
	virtual, host kubernetes.Interface
	config        *rest.Config // of the virtual side
}

func newTenant(t *testing.T, name string) tenant {
	t.Helper()
	return newTenantOf(t, name, virtualServer, func(*syncer.Syncer) {})
}

// newTenantOf is one of another virtual server, to which the syncer is told.
func newTenantOf(t *testing.T, name string, server *controlplanetest.Server, tell func(*syncer.Syncer)) tenant {
	t.Helper()
	return newTenantWith(t, name, server, tell, func(*syncer.Options) {})
}

// newTenantWith has other options of its syncer.
func newTenantWith(t *testing.T, name string, server *controlplanetest.Server, tell func(*syncer.Syncer), change func(*syncer.Options)) tenant {
	t.Helper()
	x := tenant{T: t, name: name, config: server.Config}
	var err error
	x.virtual, err = kubernetes.NewForConfig(server.Config)
	require.NoError(t, err)
	x.host, err = kubernetes.NewForConfig(hostServer.Config)
	require.NoError(t, err)
	for client, account := range map[kubernetes.Interface]string{x.virtual: "default", x.host: name + "-workload"} {
		_, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		require.NoError(t, err)
		_, err = client.CoreV1().ServiceAccounts(name).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account}}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	options := syncer.Options{
		Virtual: server.Config, Host: hostServer.Config,
		Env: syncresource.Env{
			Tenant: name, HostNamespace: name, Identity: "identity-" + name, ClusterDomain: "cluster.local",
			APIServerIP: "10.0.0.77", APIServerPort: 443, WorkloadServiceAccount: name + "-workload",
		},
	}
	change(&options)
	s, err := syncer.New(options)
	require.NoError(t, err)
	tell(s)
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- s.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		cancel()
		t.Fatalf("the syncer ended before it was ready: %v", err)
	}
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return x
}

func (x tenant) hostName(name string) string { return naming.Host(x.name, x.name, name) }

// eventually waits until condition does not complain any more.
func (x tenant) eventually(what string, condition func() (complaint string, err error)) {
	x.Helper()
	controlplanetest.Eventually(x.T, what, func(context.Context) (string, error) { return condition() })
}

func gone(err error) (string, error) {
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	return "it is still there", err
}

func TestNodesMirrorTheHosts(t *testing.T) {
	x := newTenant(t, "nodes")
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "node-1", Labels: map[string]string{"disk": "ssd"}},
		Spec:       corev1.NodeSpec{ProviderID: "x://1", PodCIDR: "10.244.0.0/24"},
		Status: corev1.NodeStatus{
			Capacity:   corev1.ResourceList{"cpu": resource.MustParse("4")},
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now()}},
			Addresses:  []corev1.NodeAddress{{Type: "InternalIP", Address: "192.0.2.1"}, {Type: "InternalIP", Address: "2001:db8::1"}},
		},
	}
	nodes := x.host.CoreV1().Nodes()
	_, err := nodes.Create(t.Context(), node, metav1.CreateOptions{})
	require.NoError(t, err)
	untaint := func() { // the host's node lifecycle controller would
		_, err = nodes.Patch(t.Context(), "node-1", types.MergePatchType, []byte(`{"spec":{"taints":null}}`), metav1.PatchOptions{})
		require.NoError(t, err)
	}
	untaint()
	same := func(change func(want *corev1.Node)) func() (string, error) {
		want := node.DeepCopy()
		want.Spec.PodCIDR = ""
		change(want)
		return func() (string, error) {
			got, err := x.virtual.CoreV1().Nodes().Get(t.Context(), "node-1", metav1.GetOptions{})
			if err != nil {
				return "", err
			}
			return cmp.Diff([]any{want.Labels, want.Spec, want.Status.Addresses}, []any{got.Labels, got.Spec, got.Status.Addresses}), nil
		}
	}
	x.eventually("the node is mirrored, without the taint that admission adds", same(func(*corev1.Node) {}))

	_, err = x.virtual.CoreV1().Nodes().Patch(t.Context(), "node-1", types.MergePatchType, []byte(`{"spec":{"unschedulable":true},"metadata":{"labels":{"mine":"1"}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	_, err = nodes.Patch(t.Context(), "node-1", types.MergePatchType, []byte(`{"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.1"},{"type":"InternalIP","address":"2001:db8::2"}]}}`), metav1.PatchOptions{}, "status")
	require.NoError(t, err)
	x.eventually("the tenant's cordon and label stay, addresses follow", same(func(want *corev1.Node) {
		want.Labels["mine"] = "1"
		want.Spec.Unschedulable = true
		want.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}}
		want.Status.Addresses[1].Address = "2001:db8::2"
	}))

	require.NoError(t, nodes.Delete(t.Context(), "node-1", metav1.DeleteOptions{}))
	x.eventually("the node goes with the host's", func() (string, error) {
		_, err := x.virtual.CoreV1().Nodes().Get(t.Context(), "node-1", metav1.GetOptions{})
		return gone(err)
	})
}

func TestServicesFollow(t *testing.T) {
	x := newTenant(t, "services")
	services := x.virtual.CoreV1().Services(x.name)
	hostService := func(check func(*corev1.Service) string) func() (string, error) {
		return func() (string, error) {
			got, err := x.host.CoreV1().Services(x.name).Get(t.Context(), x.hostName("web"), metav1.GetOptions{})
			if err != nil {
				return "", err
			}
			return check(got), nil
		}
	}
	port := func(name string, protocol corev1.Protocol, target int32) corev1.ServicePort {
		return corev1.ServicePort{Name: name, Protocol: protocol, Port: 53, TargetPort: intstr.FromInt32(target)}
	}
	service, err := services.Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "web"},
			Ports:    []corev1.ServicePort{port("udp", corev1.ProtocolUDP, 53), port("tcp", corev1.ProtocolTCP, 53)},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	selector := map[string]string{"app": "web", syncresource.LabelTenant: x.name, syncresource.LabelNamespace: x.name}
	x.eventually("the host service has the same address", hostService(func(got *corev1.Service) string {
		return cmp.Diff([]any{selector, service.Spec.ClusterIP, service.Spec.Ports}, []any{got.Spec.Selector, got.Spec.ClusterIP, got.Spec.Ports})
	}))

	// Each begins where the one before it ended.
	for _, step := range []struct {
		name   string
		change func(spec *corev1.ServiceSpec)
	}{
		{"one of two ports of one number", func(spec *corev1.ServiceSpec) { spec.Ports[1].TargetPort = intstr.FromInt32(5353) }},
		{"the last port", func(spec *corev1.ServiceSpec) { spec.Ports = spec.Ports[:1] }},
		{"type NodePort", func(spec *corev1.ServiceSpec) { spec.Type = corev1.ServiceTypeNodePort }},
		{"type LoadBalancer", func(spec *corev1.ServiceSpec) {
			spec.Type, spec.ExternalTrafficPolicy = corev1.ServiceTypeLoadBalancer, corev1.ServiceExternalTrafficPolicyLocal
			spec.LoadBalancerSourceRanges, spec.LoadBalancerClass = []string{"10.0.0.0/8"}, new("example.org/lb")
		}},
		{"type ClusterIP again", func(spec *corev1.ServiceSpec) {
			spec.Type, spec.LoadBalancerSourceRanges, spec.LoadBalancerClass = corev1.ServiceTypeClusterIP, nil, nil
		}},
		{"no selector", func(spec *corev1.ServiceSpec) { spec.Selector = nil }},
		{"session affinity", func(spec *corev1.ServiceSpec) { spec.SessionAffinity = corev1.ServiceAffinityClientIP }},
	} {
		x.eventually(step.name, func() (string, error) {
			current, err := services.Get(t.Context(), "web", metav1.GetOptions{})
			if err == nil {
				step.change(&current.Spec)
				service, err = services.Update(t.Context(), current, metav1.UpdateOptions{})
			}
			return "", err
		})
		x.eventually(step.name, hostService(func(got *corev1.Service) string {
			want := service.Spec.DeepCopy()
			if len(want.Selector) > 0 {
				want.Selector = selector
			}
			return cmp.Diff(*want, got.Spec)
		}))
		if service.Spec.Type != corev1.ServiceTypeLoadBalancer {
			continue
		}
		_, err = x.host.CoreV1().Services(x.name).Patch(t.Context(), x.hostName("web"), types.MergePatchType,
			[]byte(`{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.10"}]}}}`), metav1.PatchOptions{}, "status")
		require.NoError(t, err)
		x.eventually("the load balancer's address comes back", func() (string, error) {
			got, err := services.Get(t.Context(), "web", metav1.GetOptions{})
			if err != nil || len(got.Status.LoadBalancer.Ingress) != 1 {
				return "no address", err
			}
			return cmp.Diff("192.0.2.10", got.Status.LoadBalancer.Ingress[0].IP), nil
		})
	}
	_, err = services.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"spec":{"type":"ExternalName","externalName":"example.org","clusterIP":null,"clusterIPs":null}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	x.eventually("a name of somebody else's is none of the host's", func() (string, error) {
		_, err := x.host.CoreV1().Services(x.name).Get(t.Context(), x.hostName("web"), metav1.GetOptions{})
		return gone(err)
	})
	service, err = services.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"spec":{"type":"ClusterIP","externalName":null}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	x.eventually("one with an address is", hostService(func(got *corev1.Service) string {
		return cmp.Diff(service.Spec.ClusterIP, got.Spec.ClusterIP)
	}))
	require.NoError(t, services.Delete(t.Context(), "web", metav1.DeleteOptions{}))
	x.eventually("the host service goes with it", func() (string, error) {
		_, err := x.host.CoreV1().Services(x.name).Get(t.Context(), x.hostName("web"), metav1.GetOptions{})
		return gone(err)
	})
}

func TestAPodHasWhatItRefersTo(t *testing.T) {
	x := newTenant(t, "pods")
	_, err := x.virtual.CoreV1().ConfigMaps(x.name).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "settings"}, BinaryData: map[string][]byte{"a": {0}}, Immutable: new(true),
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	virtual, err := x.virtual.CoreV1().Pods(x.name).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web-0"},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "app", Image: "example.org/app", EnvFrom: []corev1.EnvFromSource{
				{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}},
			}}},
			Volumes: []corev1.Volume{{Name: "vault", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
				Sources: []corev1.VolumeProjection{
					{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "unused", Audience: "vault"}},
					{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", Audience: "vault", ExpirationSeconds: new(int64(600))}},
				},
			}}}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	var host *corev1.Pod
	x.eventually("the pod is on the host", func() (string, error) {
		host, err = x.host.CoreV1().Pods(x.name).Get(t.Context(), x.hostName("web-0"), metav1.GetOptions{})
		return "", err
	})
	settings, err := x.host.CoreV1().ConfigMaps(x.name).Get(t.Context(), x.hostName("settings"), metav1.GetOptions{})
	require.NoError(t, err, "what it refers to is there before it")
	require.Equal(t, map[string][]byte{"a": {0}}, settings.BinaryData)
	require.True(t, *settings.Immutable)

	tokenSecret := resources.TokenSecretName(x.name, x.name, "web-0")
	secret, err := x.host.CoreV1().Secrets(x.name).Get(t.Context(), tokenSecret, metav1.GetOptions{})
	require.NoError(t, err, "its tokens are there before it")
	review := func(server kubernetes.Interface, token string, audiences ...string) authenticationv1.TokenReviewStatus {
		t.Helper()
		answer, err := server.AuthenticationV1().TokenReviews().Create(t.Context(), &authenticationv1.TokenReview{
			Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: audiences},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
		return answer.Status
	}
	tokens := resources.Tokens(virtual)
	unused := tokens[0] // the API server remembers for 10 s that a token was good
	for _, token := range tokens[1:] {
		var audiences []string
		if token.Audience != "" {
			require.False(t, review(x.virtual, string(secret.Data[token.Key])).Authenticated, "it is for its audience only")
			audiences = []string{token.Audience}
		}
		status := review(x.virtual, string(secret.Data[token.Key]), audiences...)
		require.True(t, status.Authenticated, status.Error)
		require.Equal(t, "system:serviceaccount:"+x.name+":default", status.User.Username)
		require.Equal(t, authenticationv1.ExtraValue{"web-0"}, status.User.Extra["authentication.kubernetes.io/pod-name"])
		require.False(t, review(x.host, string(secret.Data[token.Key]), audiences...).Authenticated, "the host does not know it")
	}

	_, err = x.host.CoreV1().Events(x.name).Create(t.Context(), &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Name: host.Name + ".1879a"},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: x.name, Name: host.Name, UID: host.UID},
		Reason:         "FailedScheduling", Message: fmt.Sprintf("%s/%s fits nowhere", x.name, host.Name), Type: corev1.EventTypeWarning,
		FirstTimestamp: metav1.Now(), LastTimestamp: metav1.Now(), Count: 1,
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	events := func(count int32) func() (string, error) {
		return func() (string, error) {
			got, err := x.virtual.CoreV1().Events(x.name).Get(t.Context(), "web-0.1879a", metav1.GetOptions{})
			if err != nil {
				return "", err
			}
			return cmp.Diff([]any{virtual.UID, x.name + "/web-0 fits nowhere", count}, []any{got.InvolvedObject.UID, got.Message, got.Count}), nil
		}
	}
	x.eventually("an event about the host pod is one about the pod", events(1))
	_, err = x.host.CoreV1().Events(x.name).Patch(t.Context(), host.Name+".1879a", types.MergePatchType, []byte(`{"count":2}`), metav1.PatchOptions{})
	require.NoError(t, err)
	x.eventually("its count follows", events(2))

	require.NoError(t, x.virtual.CoreV1().Pods(x.name).Delete(t.Context(), "web-0", metav1.DeleteOptions{}))
	x.eventually("its tokens go with it", func() (string, error) {
		_, err := x.host.CoreV1().Secrets(x.name).Get(t.Context(), tokenSecret, metav1.GetOptions{})
		return gone(err)
	})
	x.eventually("what nobody refers to any more goes", func() (string, error) {
		_, err := x.host.CoreV1().ConfigMaps(x.name).Get(t.Context(), x.hostName("settings"), metav1.GetOptions{})
		return gone(err)
	})
	require.False(t, review(x.virtual, string(secret.Data[unused.Key]), "vault").Authenticated, "its tokens are revoked")
}
