package tokens

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"

	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// world is both sides of a tenant, whose caches catch up when the test says so.
type world struct {
	*testing.T
	virtual, host *fake.Clientset
	pods, secrets cache.SharedIndexInformer
	clock         *clocktesting.FakeClock
	events        *record.FakeRecorder
	controller    *Controller
	requests      []authenticationv1.TokenRequestSpec
	granted       time.Duration // life that the virtual API grants; 0: what is asked for
	fail          error         // of token requests
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		T: t, virtual: fake.NewClientset(), host: fake.NewClientset(),
		clock: clocktesting.NewFakeClock(start), events: record.NewFakeRecorder(10),
	}
	var uids, serial atomic.Int64
	w.host.PrependReactor("create", "secrets", func(action k8stesting.Action) (bool, runtime.Object, error) {
		object := action.(k8stesting.CreateAction).GetObject().(*corev1.Secret)
		object.UID = types.UID(fmt.Sprintf("secret-%d", uids.Add(1)))
		return false, nil, nil
	})
	w.virtual.PrependReactor("create", "serviceaccounts", func(action k8stesting.Action) (bool, runtime.Object, error) {
		request := action.(k8stesting.CreateAction).GetObject().(*authenticationv1.TokenRequest).DeepCopy()
		require.Equal(t, "token", action.GetSubresource())
		if w.fail != nil {
			return true, nil, w.fail
		}
		w.requests = append(w.requests, request.Spec)
		if w.granted > 0 {
			request.Spec.ExpirationSeconds = new(int64(w.granted / time.Second))
		}
		request.Status.Token = fmt.Sprintf("token-%d", serial.Add(1))
		request.Status.ExpirationTimestamp = metav1.NewTime(w.clock.Now().Add(time.Duration(*request.Spec.ExpirationSeconds) * time.Second))
		return true, request, nil
	})
	w.pods = informers.NewSharedInformerFactory(w.virtual, 0).Core().V1().Pods().Informer()
	w.secrets = informers.NewSharedInformerFactory(w.host, 0).Core().V1().Secrets().Informer()
	w.restart()
	return w
}

func env() resource.Env {
	return resource.Env{
		Tenant: "team-a", HostNamespace: "tenants", Identity: "identity-1",
		Owner: metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "team-a-anchor", UID: "anchor-1"},
	}
}

// restart loses whatever the controller has in memory.
func (w *world) restart() {
	w.controller = New(Options{
		Virtual: w.virtual, Host: w.host, Pods: w.pods, HostSecrets: w.secrets, Env: env, Clock: w.clock, Recorder: w.events,
	})
}

func (w *world) see(pod *corev1.Pod)   { require.NoError(w, w.pods.GetStore().Update(pod)) }
func (w *world) unsee(pod *corev1.Pod) { require.NoError(w, w.pods.GetStore().Delete(pod)) }
func (w *world) sync() time.Duration {
	w.Helper()
	again, err := w.trySync()
	require.NoError(w, err)
	return again
}
func (w *world) secret() *corev1.Secret { return w.read(secretName) }

func (w *world) trySync() (time.Duration, error) {
	return w.controller.sync(w.Context(), resource.Key{Namespace: "default", Name: "web-0"})
}

// counts requires how often Secrets were changed so.
func (w *world) counts(change, outcome string, want int) {
	w.Helper()
	var metric dto.Metric
	require.NoError(w, w.controller.options.Metrics.changes.WithLabelValues(change, outcome).Write(&metric))
	require.EqualValues(w, want, metric.GetCounter().GetValue(), "%s, %s", change, outcome)
}

// catchUp fills the cache of host Secrets.
func (w *world) catchUp() {
	list, err := w.host.CoreV1().Secrets("tenants").List(w.Context(), metav1.ListOptions{})
	require.NoError(w, err)
	var items []any
	for i := range list.Items {
		items = append(items, &list.Items[i])
	}
	require.NoError(w, w.secrets.GetStore().Replace(items, ""))
}

// read is a host Secret, nil if there is none.
func (w *world) read(name string) *corev1.Secret {
	secret, err := w.host.CoreV1().Secrets("tenants").Get(context.Background(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	require.NoError(w, err)
	return secret
}

var secretName = resources.TokenSecretName("team-a", "default", "web-0")

func podWith(uid string, sources ...corev1.ServiceAccountTokenProjection) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web-0", UID: types.UID(uid)},
		Spec:       corev1.PodSpec{ServiceAccountName: "builder", Volumes: []corev1.Volume{{Name: "access"}}},
	}
	projected := &corev1.ProjectedVolumeSource{}
	for i := range sources {
		projected.Sources = append(projected.Sources, corev1.VolumeProjection{ServiceAccountToken: &sources[i]})
	}
	pod.Spec.Volumes[0].Projected = projected
	return pod
}

func hour() corev1.ServiceAccountTokenProjection {
	return corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: new(int64(3600))}
}

// values are the tokens of a Secret.
func values(secret *corev1.Secret) map[string]string {
	out := map[string]string{}
	for key, value := range secret.Data {
		out[key] = string(value)
	}
	return out
}
