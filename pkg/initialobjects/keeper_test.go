package initialobjects

import (
	"context"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"

	"nestling.dev/nestling/pkg/controlplane/controlplanetest"
)

// server is one for all tests; each has namespaces and kinds of its own.
var server *controlplanetest.Server

func TestMain(m *testing.M) { os.Exit(controlplanetest.Main(m, &server)) }

// definition of a kind in a group of its own.
func definition(group string) string {
	return `
- apiVersion: apiextensions.k8s.io/v1
  kind: CustomResourceDefinition
  metadata: {name: widgets.` + group + `}
  spec:
    group: ` + group + `
    names: {kind: Widget, plural: widgets}
    scope: Namespaced
    versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`
}

// world is a Keeper at work.
type world struct {
	client   kubernetes.Interface
	dynamic  dynamic.Interface
	events   *record.FakeRecorder
	metrics  *prometheus.Registry
	requests atomic.Int64 // of the Keeper, but for watches
}

// keep runs a Keeper until the test ends, and returns when it is ready.
func keep(t *testing.T, text string) *world {
	t.Helper()
	w := &world{events: record.NewFakeRecorder(100), metrics: prometheus.NewRegistry()}
	var err error
	w.client, err = kubernetes.NewForConfig(server.Config)
	require.NoError(t, err)
	w.dynamic, err = dynamic.NewForConfig(server.Config)
	require.NoError(t, err)
	config := rest.CopyConfig(server.Config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(request *http.Request) (*http.Response, error) {
			if request.URL.Query().Get("watch") == "" {
				w.requests.Add(1)
			}
			return next.RoundTrip(request)
		})
	})
	objects, problems := Check(read(t, text))
	require.Empty(t, problems)
	keeper, err := New(Options{Virtual: config, Objects: objects, Recorder: w.events, Metrics: NewMetrics(w.metrics)})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- keeper.Run(ctx, func() { close(ready) }) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	select {
	case <-ready:
	case <-time.After(time.Minute):
		t.Fatal("not ready")
	}
	return w
}

type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }

func (w *world) widgets(group string) dynamic.NamespaceableResourceInterface {
	return w.dynamic.Resource(schema.GroupVersionResource{Group: group, Version: "v1", Resource: "widgets"})
}

// calm waits until the Keeper has asked nothing for a second, so that what is measured
// after it is not what was under way.
func (w *world) calm(t *testing.T) {
	t.Helper()
	last, since := int64(-1), time.Now()
	controlplanetest.Eventually(t, "be calm", func(context.Context) (string, error) {
		if now := w.requests.Load(); now != last {
			last, since = now, time.Now()
		}
		if time.Since(since) < time.Second {
			return "it asks on", nil
		}
		return "", nil
	})
}

func TestObjectsAreThereAndKept(t *testing.T) {
	t.Parallel()
	w := keep(t, definition("kept.example")+`
- {apiVersion: kept.example/v1, kind: Widget, metadata: {name: first, namespace: kept}, spec: {size: 3}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: kept, labels: {team: a}}, data: {level: high}}
- {apiVersion: v1, kind: Namespace, metadata: {name: kept}}
`)
	ctx := t.Context()
	settings := w.client.CoreV1().ConfigMaps("kept")
	made, err := settings.Get(ctx, "settings", metav1.GetOptions{})
	require.NoError(t, err, "it is there when the tenant is ready")
	require.Equal(t, map[string]string{"team": "a", Label: "true"}, made.Labels)
	controlplanetest.Eventually(t, "make an object of a kind that was to come", func(ctx context.Context) (string, error) {
		_, err := w.widgets("kept.example").Namespace("kept").Get(ctx, "first", metav1.GetOptions{})
		return "", err
	})

	w.calm(t)
	before := w.requests.Load()
	restored := func(what string, patch string) {
		t.Helper()
		_, err := settings.Patch(ctx, "settings", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		require.NoError(t, err)
		controlplanetest.Eventually(t, "restore "+what, func(ctx context.Context) (string, error) {
			now, err := settings.Get(ctx, "settings", metav1.GetOptions{})
			if err == nil && (now.Data["level"] != "high" || now.Labels[Label] != "true" || now.Labels["team"] != "a") {
				return now.String(), nil
			}
			return "", err
		})
	}
	restored("a value", `{"data":{"level":"low"}}`)
	restored("a value that was taken out", `{"data":{"level":null}}`)
	restored("the label by which it is found", `{"metadata":{"labels":null}}`)
	require.Greater(t, w.requests.Load(), before)

	_, err = settings.Patch(ctx, "settings", types.MergePatchType, []byte(`{"data":{"own":"value"}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	require.NoError(t, settings.Delete(ctx, "settings", metav1.DeleteOptions{}))
	controlplanetest.Eventually(t, "make it again", func(ctx context.Context) (string, error) {
		now, err := settings.Get(ctx, "settings", metav1.GetOptions{})
		if err == nil && now.UID == made.UID {
			return "it was not deleted yet", nil
		}
		return "", err
	})

	// What the operator does not say is whoever's it is, and status is nobody's wish.
	_, err = settings.Patch(ctx, "settings", types.MergePatchType, []byte(`{"data":{"own":"value"}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	w.calm(t)
	now, err := settings.Get(ctx, "settings", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"level": "high", "own": "value"}, now.Data)
	require.NoError(t, testutil.GatherAndCompare(w.metrics, strings.NewReader(`
# HELP nestling_initial_objects The operator's initial objects that the tenant has as they should be (kept), and those that its API does not take (failed).
# TYPE nestling_initial_objects gauge
nestling_initial_objects{state="failed"} 0
nestling_initial_objects{state="kept"} 4
`)))

	// At rest nothing is written, nor asked.
	atRest := w.requests.Load()
	w.calm(t)
	require.Equal(t, atRest, w.requests.Load())
	again, err := settings.Get(ctx, "settings", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, now.ResourceVersion, again.ResourceVersion)
}

// One that the tenant's API does not take keeps nobody waiting, is told of, and comes when
// it can.
func TestABadObjectKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	w := keep(t, `
- {apiVersion: later.example/v1, kind: Widget, metadata: {name: first, namespace: default}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: beside-it}}
`)
	_, err := w.client.CoreV1().ConfigMaps("default").Get(t.Context(), "beside-it", metav1.GetOptions{})
	require.NoError(t, err)
	select {
	case event := <-w.events.Events:
		require.Contains(t, event, `Warning InitialObjectFailed the object that this cluster's operator wants here is not taken: no matches for kind "Widget" in version "later.example/v1"`)
	case <-time.After(time.Minute):
		t.Fatal("nobody is told")
	}
	require.InDelta(t, 1, gauge(t, w, "failed"), 0)

	// As the tenant would bring it.
	definitions := w.dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	_, err = definitions.Create(t.Context(), &unstructured.Unstructured{Object: read(t, definition("later.example"))[0]}, metav1.CreateOptions{})
	require.NoError(t, err)
	controlplanetest.Eventually(t, "make it", func(ctx context.Context) (string, error) {
		_, err := w.widgets("later.example").Namespace("default").Get(ctx, "first", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return "it is not there", nil
		}
		return "", err
	})
	controlplanetest.Eventually(t, "count it", func(context.Context) (string, error) {
		if gauge(t, w, "failed") != 0 || gauge(t, w, "kept") != 2 {
			return "the metric is behind", nil
		}
		return "", nil
	})
}

func gauge(t *testing.T, w *world, state string) float64 {
	t.Helper()
	families, err := w.metrics.Gather()
	require.NoError(t, err)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if metric.GetLabel()[0].GetValue() == state {
				return metric.GetGauge().GetValue()
			}
		}
	}
	return -1
}
