package engine_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"

	"nestling.dev/nestling/pkg/controlplane/controlplanetest"
	"nestling.dev/nestling/syncer/engine"
	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
)

// Two real API servers, shared by the tests; each test has a tenant of its own.
var virtualServer, hostServer *controlplanetest.Server

func TestMain(m *testing.M) { os.Exit(controlplanetest.Main(m, &virtualServer, &hostServer)) }

// configMaps is a kind of the simplest sort, so that these tests are about the engine.
func configMaps(namespace string) resource.Kind {
	return resource.Spec[*corev1.ConfigMap]{
		Resource: corev1.SchemeGroupVersion.WithResource("configmaps"), Kind: "ConfigMap", Namespaced: true, NoStatus: true,
		New: func() *corev1.ConfigMap { return &corev1.ConfigMap{} },
		// The servers are shared: each test syncs its own namespace.
		Select: func(_ resource.Env, virtual *corev1.ConfigMap) bool {
			return virtual.Namespace == namespace && virtual.Name != "kube-root-ca.crt"
		},
		ToHost: func(env resource.Env, virtual *corev1.ConfigMap) (*corev1.ConfigMap, error) {
			return &corev1.ConfigMap{ObjectMeta: resource.HostMeta(env, virtual), Data: virtual.Data}, nil
		},
		MergeHost: func(_ resource.Env, desired, live *corev1.ConfigMap) *corev1.ConfigMap {
			live.Data = desired.Data
			return live
		},
	}.Erase()
}

type tenant struct {
	t             *testing.T
	name          string
	virtual, host kubernetes.Interface
	events        *record.FakeRecorder
	registry      *prometheus.Registry
	identity      string
}

func newTenant(t *testing.T, name string) *tenant {
	t.Helper()
	virtual, err := kubernetes.NewForConfig(virtualServer.Config)
	require.NoError(t, err)
	host, err := kubernetes.NewForConfig(hostServer.Config)
	require.NoError(t, err)
	for _, client := range []kubernetes.Interface{virtual, host} {
		_, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	return &tenant{t: t, name: name, virtual: virtual, host: host, identity: "identity-" + name}
}

// start runs an engine until the returned function is called.
func (x *tenant) start(breaker engine.Breaker, more ...resource.Kind) (stop func()) {
	x.t.Helper()
	x.events = record.NewFakeRecorder(100)
	x.registry = prometheus.NewRegistry()
	e, err := engine.New(engine.Options{
		Virtual: virtualServer.Config, Host: hostServer.Config, Kinds: append([]resource.Kind{configMaps(x.name)}, more...),
		Env:      resource.Env{Tenant: x.name, HostNamespace: x.name, Identity: x.identity},
		Recorder: x.events, Metrics: engine.NewMetrics(x.registry), Breaker: breaker,
	})
	require.NoError(x.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- e.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		cancel()
		x.t.Fatalf("the engine ended before it was ready: %v", err)
	}
	return func() {
		cancel()
		require.NoError(x.t, <-ended)
	}
}

func (x *tenant) create(name string, data map[string]string) *corev1.ConfigMap {
	x.t.Helper()
	out, err := x.virtual.CoreV1().ConfigMaps(x.name).Create(x.t.Context(),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "x", "nestling.dev/tenant": "fake"}}, Data: data}, metav1.CreateOptions{})
	require.NoError(x.t, err)
	return out
}

func (x *tenant) hostName(name string) string { return naming.Host(x.name, x.name, name) }

func (x *tenant) hostGet(name string) (*corev1.ConfigMap, error) {
	return x.host.CoreV1().ConfigMaps(x.name).Get(x.t.Context(), x.hostName(name), metav1.GetOptions{})
}

// eventually waits for a condition on the host object of a virtual ConfigMap.
func (x *tenant) eventually(name string, what string, condition func(*corev1.ConfigMap, error) bool) {
	x.t.Helper()
	require.Eventually(x.t, func() bool { return condition(x.hostGet(name)) }, 20*time.Second, 20*time.Millisecond, what)
}

func has(key, value string) func(*corev1.ConfigMap, error) bool {
	return func(object *corev1.ConfigMap, err error) bool { return err == nil && object.Data[key] == value }
}

func gone(_ *corev1.ConfigMap, err error) bool { return apierrors.IsNotFound(err) }

func (x *tenant) writes() float64 { return x.sum("nestling_sync_writes_total") }

// sum of a family's counters and gauges, and of how often its histograms have been fed;
// label=value narrows it.
func (x *tenant) sum(name string, labels ...string) float64 {
	families, err := x.registry.Gather()
	require.NoError(x.t, err)
	sum := 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.Metric {
			var has []string
			for _, label := range metric.Label {
				has = append(has, label.GetName()+"="+label.GetValue())
			}
			if !slices.ContainsFunc(labels, func(label string) bool { return !slices.Contains(has, label) }) {
				sum += metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// answered waits until so many writes to the host are counted. What is done before belongs to
// the write before it, in the metrics.
func (x *tenant) answered(writes float64) {
	x.t.Helper()
	x.counts("the writes that answered", "nestling_sync_latency_seconds", writes, "kind=ConfigMap", "direction=to_host")
}

// counts waits for a metric: what it counts is seen a moment before it is counted.
func (x *tenant) counts(what, name string, want float64, labels ...string) {
	x.t.Helper()
	require.Eventually(x.t, func() bool { return x.sum(name, labels...) == want }, 20*time.Second, 20*time.Millisecond, "%s: %v of %s %v", what, want, name, labels)
}

func TestAnObjectIsMadeFollowedAndDeleted(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "follow")
	defer x.start(engine.Breaker{MinObjects: 20})()
	virtual := x.create("c", map[string]string{"a": "1"})
	x.eventually("c", "made", has("a", "1"))
	host, err := x.hostGet("c")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"app": "x", resource.LabelTenant: "follow", resource.LabelNamespace: "follow"}, host.Labels)
	require.Equal(t, string(virtual.UID), host.Annotations[resource.AnnotationUID])

	x.answered(1)
	virtual.Data["a"] = "2"
	delete(virtual.Labels, "app")
	_, err = x.virtual.CoreV1().ConfigMaps(x.name).Update(t.Context(), virtual, metav1.UpdateOptions{})
	require.NoError(t, err)
	x.eventually("c", "updated", func(object *corev1.ConfigMap, err error) bool {
		return has("a", "2")(object, err) && object.Labels["app"] == ""
	})
	x.answered(2)
	require.NoError(t, x.virtual.CoreV1().ConfigMaps(x.name).Delete(t.Context(), "c", metav1.DeleteOptions{}))
	x.eventually("c", "deleted", gone)
	x.answered(3)
	x.counts("all is done", "nestling_sync_queue_depth", 0)
	x.counts("and gone", "nestling_sync_objects", 0, "side=host")
	require.Zero(t, x.sum("nestling_sync_drift_total"))
	require.NotZero(t, x.sum("nestling_sync_objects", "kind=ConfigMap", "side=virtual"))
}

func TestAnEditedHostObjectIsRepairedAndForeignLabelsSurvive(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "repair")
	defer x.start(engine.Breaker{MinObjects: 20})()
	x.create("c", map[string]string{"a": "1"})
	x.eventually("c", "made", has("a", "1"))
	x.answered(1)
	patch := `{"data":{"a":"edited","b":"new"},"metadata":{"labels":{"other":"stays"}}}`
	_, err := x.host.CoreV1().ConfigMaps(x.name).Patch(t.Context(), x.hostName("c"), types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	require.NoError(t, err)
	x.eventually("c", "repaired", func(object *corev1.ConfigMap, err error) bool {
		return has("a", "1")(object, err) && has("b", "")(object, err) && object.Labels["other"] == "stays"
	})
	x.counts("the repair", "nestling_sync_drift_total", 1, "kind=ConfigMap", "repair=repaired")
}

func TestAHostObjectThatLosesOurLabelsGetsThemBack(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "labels")
	defer x.start(engine.Breaker{MinObjects: 20})()
	x.create("c", map[string]string{"a": "1"})
	x.eventually("c", "made", has("a", "1"))
	x.answered(1)
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:null}}}`, resource.LabelTenant)
	_, err := x.host.CoreV1().ConfigMaps(x.name).Patch(t.Context(), x.hostName("c"), types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	require.NoError(t, err)
	x.eventually("c", "labelled again", func(object *corev1.ConfigMap, err error) bool {
		return err == nil && object.Labels[resource.LabelTenant] == "labels"
	})
	x.counts("the repair", "nestling_sync_drift_total", 1, "kind=ConfigMap", "repair=repaired")
}

func TestADeletedHostObjectIsMadeAgain(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "again")
	defer x.start(engine.Breaker{MinObjects: 20})()
	x.create("c", map[string]string{"a": "1"})
	x.eventually("c", "made", has("a", "1"))
	x.answered(1)
	first, err := x.hostGet("c")
	require.NoError(t, err)
	require.NoError(t, x.host.CoreV1().ConfigMaps(x.name).Delete(t.Context(), first.Name, metav1.DeleteOptions{}))
	x.eventually("c", "made again", func(object *corev1.ConfigMap, err error) bool { return err == nil && object.UID != first.UID })
	x.counts("it", "nestling_sync_drift_total", 1, "kind=ConfigMap", "repair=recreated")
}

func TestAForeignObjectUnderOurNameIsLeftAlone(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "foreign")
	foreign, err := x.host.CoreV1().ConfigMaps(x.name).Create(t.Context(),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: x.hostName("c")}, Data: map[string]string{"whose": "not ours"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	defer x.start(engine.Breaker{MinObjects: 20})()
	x.create("c", map[string]string{"a": "1"})
	select {
	case event := <-x.events.Events:
		require.Contains(t, event, "HostNameTaken")
	case <-time.After(20 * time.Second):
		t.Fatal("no event about the taken name")
	}
	require.NoError(t, x.virtual.CoreV1().ConfigMaps(x.name).Delete(t.Context(), "c", metav1.DeleteOptions{}))
	x.create("d", map[string]string{"a": "1"})
	x.eventually("d", "the next object is made", has("a", "1"))
	after, err := x.hostGet("c")
	require.NoError(t, err)
	require.Equal(t, foreign.ResourceVersion, after.ResourceVersion, "the foreign object was written")
}

func TestARestartWritesNothing(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "restart")
	stop := x.start(engine.Breaker{MinObjects: 20})
	for i := range 50 {
		x.create(fmt.Sprint(i), map[string]string{"a": "1"})
	}
	for i := range 50 {
		x.eventually(fmt.Sprint(i), "made", has("a", "1"))
	}
	stop()
	stop = x.start(engine.Breaker{MinObjects: 20})
	x.create("last", map[string]string{"a": "1"})
	x.eventually("last", "made", has("a", "1"))
	stop()
	require.InDelta(t, 1, x.writes(), 0, "writes after a restart, of which one is the new object's")
}

func TestADeletionDuringDowntimeReachesTheHost(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "downtime")
	stop := x.start(engine.Breaker{MinObjects: 20})
	x.create("c", map[string]string{"a": "1"})
	x.eventually("c", "made", has("a", "1"))
	stop()
	require.NoError(t, x.virtual.CoreV1().ConfigMaps(x.name).Delete(t.Context(), "c", metav1.DeleteOptions{}))
	defer x.start(engine.Breaker{MinObjects: 20})()
	x.eventually("c", "deleted", gone)
}

func TestAnotherIdentityIsNotTouched(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "identity")
	stop := x.start(engine.Breaker{MinObjects: 20})
	x.create("c", map[string]string{"a": "1"})
	x.eventually("c", "made", has("a", "1"))
	stop()
	// The virtual cluster was lost and began anew: its objects and its identity are others.
	require.NoError(t, x.virtual.CoreV1().ConfigMaps(x.name).Delete(t.Context(), "c", metav1.DeleteOptions{}))
	x.identity = "another"
	defer x.start(engine.Breaker{MinObjects: 20})()
	x.create("sentinel", map[string]string{"a": "1"})
	x.eventually("sentinel", "made", has("a", "1"))
	_, err := x.hostGet("c")
	require.NoError(t, err, "the host object of the lost cluster is gone")
}

// What goes before its host object is in sight was seen to go, all the same.
func TestObjectsThatGoAtOnceLeaveNothing(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "at-once")
	defer x.start(engine.Breaker{MinObjects: 1})()
	for i := range 60 {
		x.create(fmt.Sprint(i), map[string]string{"a": "1"})
		require.NoError(t, x.virtual.CoreV1().ConfigMaps(x.name).Delete(t.Context(), fmt.Sprint(i), metav1.DeleteOptions{}))
	}
	x.create("last", map[string]string{"a": "1"})
	x.eventually("last", "made", has("a", "1"))
	require.Eventually(t, func() bool {
		list, err := x.host.CoreV1().ConfigMaps(x.name).List(t.Context(), metav1.ListOptions{LabelSelector: resource.LabelTenant})
		require.NoError(t, err)
		return len(list.Items) == 1
	}, 20*time.Second, 20*time.Millisecond)
}

func TestABulkOfOrphansIsHeld(t *testing.T) {
	t.Parallel()
	x := newTenant(t, "bulk")
	stop := x.start(engine.Breaker{MinObjects: 5})
	for i := range 20 {
		x.create(fmt.Sprint(i), map[string]string{"a": "1"})
	}
	for i := range 20 {
		x.eventually(fmt.Sprint(i), "made", has("a", "1"))
	}
	stop()
	require.NoError(t, x.virtual.CoreV1().ConfigMaps(x.name).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
	defer x.start(engine.Breaker{MinObjects: 5, Share: 0.25})()
	require.Eventually(t, func() bool {
		families, err := x.registry.Gather()
		require.NoError(t, err)
		for _, family := range families {
			if family.GetName() == "nestling_sync_held_deletions" && family.Metric[0].GetGauge().GetValue() == 15 {
				return true
			}
		}
		return false
	}, 20*time.Second, 20*time.Millisecond, "15 deletions held")
	left := func() int {
		list, err := x.host.CoreV1().ConfigMaps(x.name).List(t.Context(), metav1.ListOptions{LabelSelector: resource.LabelTenant})
		require.NoError(t, err)
		return len(list.Items)
	}
	// What is held is counted while what is allowed is on its way.
	require.Eventually(t, func() bool { return left() == 15 }, 20*time.Second, 20*time.Millisecond)
}
