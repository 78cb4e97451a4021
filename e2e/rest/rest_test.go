package rest

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"nestling.dev/nestling/e2e/bench"
	"nestling.dev/nestling/e2e/requests"
	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/sandbox"
	"nestling.dev/nestling/pkg/simhost"
	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
)

const (
	tenantName    = "calm"
	hostNamespace = "tenants"
	space         = "many"
	// patience is for a machine that builds something else at the same time.
	patience = 8 * time.Minute
	// look is how often a condition is looked at: lists of everything are not cheap.
	look = time.Second
	// quiet is how long nothing may move before a cluster counts as at rest.
	quiet = 10 * time.Second
)

// objects of each kind, and how long the rest is watched.
func measure(t *testing.T) (objects int, rest time.Duration) {
	t.Helper()
	objects, err := strconv.Atoi(cmp.Or(os.Getenv("NESTLING_CALM_OBJECTS"), "20"))
	require.NoError(t, err)
	rest, err = time.ParseDuration(cmp.Or(os.Getenv("NESTLING_CALM"), "20s"))
	require.NoError(t, err)
	return objects, rest
}

func TestNothingMovesAtRest(t *testing.T) {
	if os.Getenv("NESTLING_E2E") != "" {
		t.Skip("the sandbox is for make test, not for make e2e")
	}
	objects, rest := measure(t)
	require.NoError(t, controlplane.SetGlobals(controlplane.Globals{Quiet: true}))
	binary, err := filepath.Abs(cmp.Or(os.Getenv("NESTLING_BENCH_BINARY"), "../../bin/nestling"))
	require.NoError(t, err)
	box, err := sandbox.Start(t.Context(), sandbox.Options{
		Binary: binary, Tenants: []string{tenantName}, Namespace: hostNamespace,
		Host:      simhost.Options{Nodes: 4},
		Configure: func(_ string, file *config.Config) { file.Sync.ServiceAccounts = true },
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, box.Stop()) })
	w := &world{virtual: sideOf(t, box.Tenant(tenantName).Config()), host: sideOf(t, box.HostConfig())}
	w.serveSnapshots(t)
	box.Tenant(tenantName).Kill()
	require.NoError(t, box.Tenant(tenantName).Restart(t.Context()))

	w.fill(t, objects)
	w.takeSnapshots(t, objects)
	w.waitSettled(t, objects)
	before := w.counts(t)
	start := time.Now()
	time.Sleep(rest) // what is tested is that nothing happens meanwhile
	after := w.counts(t)
	bench.Report(t, "at rest for %s, with %s synced: %d writes of ours, %d to the tenant's API, %d to the host's", time.Since(start).Round(time.Second), w.synced,
		after.ours.Since(before.ours).Total(), after.virtual.Since(before.virtual).Total(), after.host.Since(before.host).Total())
	require.Empty(t, after.ours.Since(before.ours).String(), "writes of the syncer's")
	require.Empty(t, after.virtual.Since(before.virtual).String(), "writes to the tenant's API")
	require.Empty(t, after.host.Since(before.host).String(), "writes to the host's API")
}

// side is one cluster.
type side struct {
	client  kubernetes.Interface
	objects dynamic.Interface
}

type world struct {
	virtual, host side
	synced        string
}

func sideOf(t *testing.T, config *rest.Config) side {
	t.Helper()
	config = rest.CopyConfig(config)
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	objects, err := dynamic.NewForConfig(config)
	require.NoError(t, err)
	return side{client, objects}
}

// registry has every kind, those of options too.
func registry() []resource.Kind {
	return resources.Registry(resources.Options{ServiceAccounts: true, Snapshots: true})
}

// kinds are those that are synced here. ServiceAccounts come first, since pods name them.
func kinds() []resource.Kind {
	var out []resource.Kind
	for _, kind := range registry() {
		switch {
		case kind.Name == "ServiceAccount":
			out = slices.Insert(out, 0, kind)
		case kind.Direction != resource.ReadOnly:
			out = append(out, kind)
		}
	}
	return out
}

// fill makes objects of every kind, where they come from.
func (w *world) fill(t *testing.T, objects int) {
	t.Helper()
	_, err := w.virtual.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: space}}, metav1.CreateOptions{})
	require.NoError(t, err)
	w.eventually(t, "the default ServiceAccount", func(ctx context.Context) string {
		_, err := w.virtual.client.CoreV1().ServiceAccounts(space).Get(ctx, "default", metav1.GetOptions{})
		return text(err)
	})
	for _, kind := range kinds() {
		require.NotNil(t, manifests(kind.Name, "x"), "nobody has said how to make a %s", kind.Name)
		from, namespace := w.virtual, space
		if kind.Direction == resource.FromHost {
			from, namespace = w.host, hostNamespace
		}
		var group sync.WaitGroup
		slots := make(chan struct{}, 8)
		for i := range objects {
			slots <- struct{}{}
			group.Go(func() {
				defer func() { <-slots }()
				for _, manifest := range manifests(kind.Name, fmt.Sprintf("calm-%03d", i)) {
					if err := create(t.Context(), from, namespace, manifest); err != nil {
						t.Errorf("%s: %v", kind.Name, err)
					}
				}
			})
		}
		group.Wait()
	}
	require.False(t, t.Failed())
}

// create makes an object by the resource of its kind.
func create(ctx context.Context, in side, namespace, manifest string) error {
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &object.Object); err != nil || object.Object == nil {
		return err
	}
	for _, kind := range registry() {
		if kind.Name != object.GetKind() {
			continue
		}
		if !kind.Namespaced {
			namespace = ""
		}
		_, err := in.objects.Resource(kind.Resource).Namespace(namespace).Create(ctx, object, metav1.CreateOptions{FieldManager: "test"})
		return err
	}
	return fmt.Errorf("no kind %s", object.GetKind())
}

// waitSettled waits until everything is where it belongs, and nothing has moved for a while.
func (w *world) waitSettled(t *testing.T, objects int) {
	t.Helper()
	counted := map[string]int{}
	w.eventually(t, "everything to be synced", func(ctx context.Context) string {
		var missing []string
		for _, kind := range kinds() {
			if counted[kind.Name] >= objects {
				continue
			}
			to, options := w.host, metav1.ListOptions{LabelSelector: "nestling.dev/tenant=" + tenantName}
			if kind.Direction == resource.FromHost {
				to, options = w.virtual, metav1.ListOptions{}
			}
			list, err := to.objects.Resource(kind.Resource).List(ctx, options)
			if apierrors.IsNotFound(err) {
				continue // the host does not serve it
			}
			if err != nil {
				return kind.Name + ": " + err.Error()
			}
			if counted[kind.Name] = len(list.Items); len(list.Items) < objects && !few(kind.Name) {
				missing = append(missing, fmt.Sprintf("%d of %s", len(list.Items), kind.Name))
			}
		}
		running, err := w.virtual.client.CoreV1().Pods(space).List(ctx, metav1.ListOptions{FieldSelector: "status.phase=Running", ResourceVersion: "0"})
		if err != nil || len(running.Items) < objects {
			missing = append(missing, "running pods "+text(err))
		}
		return strings.Join(missing, ", ")
	})
	all := 0
	for _, count := range counted {
		all += count
	}
	w.synced = fmt.Sprintf("%d objects of each of %d kinds, %d in all,", objects, len(counted), all)
	last, since := w.counts(t), time.Now()
	w.eventually(t, "nothing to move", func(context.Context) string {
		now := w.counts(t)
		moved := now.ours.Since(last.ours).String() + now.virtual.Since(last.virtual).String() + now.host.Since(last.host).String()
		if moved != "" {
			last, since = now, time.Now()
			return moved
		}
		if time.Since(since) < quiet {
			return "not for long enough"
		}
		return ""
	})
}

// counts are the writes of the syncer, and those that both APIs were asked for.
type counts struct{ ours, virtual, host requests.Counts }

func (w *world) counts(t *testing.T) counts {
	t.Helper()
	virtual, err := requests.Count(t.Context(), w.virtual.client)
	require.NoError(t, err)
	host, err := requests.Count(t.Context(), w.host.client)
	require.NoError(t, err)
	return counts{ours: w.ours(t), virtual: virtual.Writes(moves), host: host.Writes(moves)}
}

// moves leaves out what moves on any cluster: leases and events of its own agents,
// questions that are asked by a POST, and the heartbeats of nodes, which are posted every
// five minutes.
func moves(kind requests.Kind) bool {
	switch kind.Resource {
	case "leases", "events", "nodes/status":
		return false
	}
	return !strings.HasSuffix(kind.Resource, "reviews")
}

// ours are the syncer's own, by its metric.
func (w *world) ours(t *testing.T) requests.Counts {
	t.Helper()
	page, err := w.virtual.client.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	require.NoError(t, err)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(page)))
	require.NoError(t, err)
	out := requests.Counts{}
	for _, metric := range families["nestling_sync_writes_total"].GetMetric() {
		labels := map[string]string{}
		for _, label := range metric.GetLabel() {
			labels[label.GetName()] = label.GetValue()
		}
		if labels["kind"] == "Node" || labels["kind"] == "Event" { // heartbeats; what the host's agents tell
			continue
		}
		out[requests.Kind{Verb: labels["verb"] + " " + labels["side"] + " " + labels["outcome"], Resource: labels["kind"]}] += int(metric.GetCounter().GetValue())
	}
	return out
}

// eventually waits until there is no complaint.
func (w *world) eventually(t *testing.T, what string, complaint func(ctx context.Context) string) {
	t.Helper()
	said := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(look) {
		if said = complaint(t.Context()); said == "" {
			return
		}
	}
	t.Fatalf("waited for %s: %s", what, said)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
