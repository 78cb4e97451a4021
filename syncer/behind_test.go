package syncer_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/syncer"
	"nestling.dev/nestling/syncer/resource"
)

// slowWatch is a way to an API server on which what one kind's watches say can be kept back.
type slowWatch struct {
	resource, name string
	asked          atomic.Bool // for the object of that name

	mu   sync.Mutex
	held chan struct{} // open while nothing gets through; nil before
}

// use makes it the syncer's way to its virtual cluster.
func (s *slowWatch) use(options *syncer.Options) {
	options.Virtual = rest.CopyConfig(options.Virtual)
	options.Virtual.Wrap(s.wrap)
}

func (s *slowWatch) hold() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := make(chan struct{})
	s.held = held
	return sync.OnceFunc(func() { close(held) })
}

func (s *slowWatch) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(request)
		path, name, _ := strings.Cut(request.URL.Path, "/"+s.resource)
		if err != nil || path == request.URL.Path {
			return response, err
		}
		if request.URL.Query().Get("watch") != "" {
			response.Body = slowBody{response.Body, s}
		} else if name == "/"+s.name && request.Method == http.MethodGet {
			s.asked.Store(true)
		}
		return response, nil
	})
}

type slowBody struct {
	io.ReadCloser
	watch *slowWatch
}

func (b slowBody) Read(into []byte) (int, error) {
	n, err := b.ReadCloser.Read(into)
	b.watch.mu.Lock()
	held := b.watch.held
	b.watch.mu.Unlock()
	if held != nil {
		<-held
	}
	return n, err
}

// newSlowTenant hears late of one kind of its virtual cluster.
func newSlowTenant(t *testing.T, name string, slow *slowWatch) (x tenant, s *syncer.Syncer) {
	t.Helper()
	x = newTenantWith(t, name, virtualServer, func(made *syncer.Syncer) { s = made }, slow.use)
	return x, s
}

// awaitAsked waits until the syncer has looked for what its cache does not have.
func (s *slowWatch) awaitAsked(x tenant) {
	x.Helper()
	x.eventually(s.resource+" "+s.name+" is looked for", func() (string, error) {
		if !s.asked.Load() {
			return "it is not", nil
		}
		return "", nil
	})
}

// Each kind comes through its own watch. A variable that a pod did not get when it was made,
// it never gets.
func TestAPodWaitsForWhatTheSyncerHasNotHeardOf(t *testing.T) {
	slow := &slowWatch{resource: "configmaps", name: "late"}
	x, _ := newSlowTenant(t, "behindpods", slow)
	release := slow.hold()
	defer release()
	_, err := x.virtual.CoreV1().ConfigMaps(x.name).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "late"}, Data: map[string]string{"a": "1"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = x.virtual.CoreV1().Pods(x.name).Create(t.Context(), parse[corev1.Pod](x, `{metadata: {name: reader}, spec: {automountServiceAccountToken: false, imagePullSecrets: [{name: a/b}], containers: [
		{name: app, image: example.org/app, envFrom: [{configMapRef: {name: late, optional: true}}, {configMapRef: {name: none, optional: true}}]}]}}`), metav1.CreateOptions{})
	require.NoError(t, err)
	slow.awaitAsked(x)
	hostPod := func() error {
		_, err := x.host.CoreV1().Pods(x.name).Get(t.Context(), x.hostName("reader"), metav1.GetOptions{})
		return err
	}
	require.True(t, apierrors.IsNotFound(hostPod()))
	release()
	x.eventually("the pod is on the host", func() (string, error) { return "", hostPod() })
	host, err := x.host.CoreV1().ConfigMaps(x.name).Get(t.Context(), x.hostName("late"), metav1.GetOptions{})
	require.NoError(t, err, "what it refers to was there first")
	require.Equal(t, "1", host.Data["a"])
}

// While a pod is admitted, the same is waited for: a class of the tenant's own is nothing that
// the host would know by its name.
func TestATrialWaitsForWhatTheSyncerHasNotHeardOf(t *testing.T) {
	slow := &slowWatch{resource: "runtimeclasses", name: "behind-own"}
	x, s := newSlowTenant(t, "behindtrials", slow)
	release := slow.hold()
	defer release()
	_, err := x.virtual.NodeV1().RuntimeClasses().Create(t.Context(), &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "behind-own"}, Handler: "behind"}, metav1.CreateOptions{})
	require.NoError(t, err)
	defer func() {
		require.NoError(t, x.virtual.NodeV1().RuntimeClasses().Delete(context.WithoutCancel(t.Context()), "behind-own", metav1.DeleteOptions{}))
	}()
	pod := parse[corev1.Pod](x, `{metadata: {name: own, namespace: behindtrials, uid: "1"}, spec: {runtimeClassName: behind-own, containers: [{name: app, image: example.org/app}]}}`)
	tried := make(chan error, 1)
	go func() {
		_, err := s.Trials(t.Context(), schema.GroupResource{Resource: "pods"}, pod, nil)
		tried <- err
	}()
	slow.awaitAsked(x)
	release()
	var rejection *resource.Rejection
	err = <-tried
	require.True(t, errors.As(err, &rejection), "%v", err)
	require.Contains(t, rejection.Message, `"behind-own" is this cluster's own`)
}

// An Ingress of the tenant's own class is for the tenant's own controllers, from its first
// moment on.
func TestAnIngressOfAClassThatTheSyncerHasNotHeardOfIsNotServed(t *testing.T) {
	slow := &slowWatch{resource: "ingressclasses", name: "behind-mine"}
	x, _ := newSlowTenant(t, "behindclasses", slow)
	release := slow.hold()
	defer release()
	class := &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: "behind-mine"}, Spec: networkingv1.IngressClassSpec{Controller: "example.org/mine"}}
	_, err := x.virtual.NetworkingV1().IngressClasses().Create(t.Context(), class, metav1.CreateOptions{})
	require.NoError(t, err)
	defer func() {
		require.NoError(t, x.virtual.NetworkingV1().IngressClasses().Delete(context.WithoutCancel(t.Context()), "behind-mine", metav1.DeleteOptions{}))
	}()
	for name, class := range map[string]string{"mine": "behind-mine", "other": "of-the-host"} {
		_, err = x.virtual.NetworkingV1().Ingresses(x.name).Create(t.Context(), &networkingv1.Ingress{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: networkingv1.IngressSpec{IngressClassName: &class, DefaultBackend: &networkingv1.IngressBackend{
				Service: &networkingv1.IngressServiceBackend{Name: "web", Port: networkingv1.ServiceBackendPort{Number: 80}},
			}},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	onHost := func(name string) error {
		_, err := x.host.NetworkingV1().Ingresses(x.name).Get(t.Context(), x.hostName(name), metav1.GetOptions{})
		return err
	}
	slow.awaitAsked(x)
	x.eventually("that of another class is on the host", func() (string, error) { return "", onHost("other") })
	require.True(t, apierrors.IsNotFound(onHost("mine")))
}
