// Package stories tells what a tenant's user hears of a host's rules, between two real API
// servers, with the plugin in one and a whole syncer between them.
package stories

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/controlplane"
	"nestling.dev/nestling/pkg/controlplane/controlplanetest"
	"nestling.dev/nestling/pkg/controlplane/preflight"
	"nestling.dev/nestling/syncer"
	"nestling.dev/nestling/syncer/engine"
	"nestling.dev/nestling/syncer/naming"
	"nestling.dev/nestling/syncer/resource"
)

// The names are words that occur nowhere else, so that a message can be searched for them.
const (
	tenantName      = "tenantname"
	hostNamespace   = "hostspace"
	workloadAccount = "workloadaccount"
	namespace       = "mine" // virtual
)

// world is the two servers with a syncer between them.
type world struct {
	virtual, host kubernetes.Interface
	syncer        *syncer.Syncer
	quotas        preflight.Cache // the host's, as the plugin knows them
	trials        *counter
	warnings      *collector // of the virtual API's answers
}

// shared is set by TestMain and not changed after.
var shared *world

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, cancel := context.WithCancel(context.Background())
	w, stop, err := start(ctx)
	defer func() {
		cancel()
		if err := stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop:", err)
		}
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "start:", err)
		return 1
	}
	shared = w
	return m.Run()
}

func start(ctx context.Context) (w *world, stop func() error, err error) {
	var stops []func() error
	stop = func() error {
		var failed error
		for i := len(stops) - 1; i >= 0; i-- {
			failed = errors.Join(failed, stops[i]())
		}
		return failed
	}
	w = &world{trials: &counter{}, warnings: &collector{}}
	hostServer, stopHost, err := controlplanetest.Run(controlplanetest.Options{})
	if err != nil {
		return nil, stop, err
	}
	stops = append(stops, stopHost)
	w.host = kubernetes.NewForConfigOrDie(hostServer.Config)

	quotas, err := engine.Informer(hostServer.Config, resource.Kind{
		Resource: corev1.SchemeGroupVersion.WithResource("resourcequotas"), Namespaced: true,
		New: func() resource.Object { return &corev1.ResourceQuota{} },
	}, hostNamespace)
	if err != nil {
		return nil, stop, err
	}
	w.quotas = quotas
	var informer sync.WaitGroup
	informerContext, stopInformer := context.WithCancel(ctx)
	informer.Go(func() { quotas.RunWithContext(informerContext) })
	stops = append(stops, func() error { stopInformer(); informer.Wait(); return nil })

	var current atomic.Pointer[syncer.Syncer]
	judge := preflight.NewHost(preflight.HostOptions{
		Quotas: preflight.NewQuotas(quotas, time.Now),
		Translator: func() preflight.Translator {
			if s := current.Load(); s != nil {
				return translator{s}
			}
			return nil
		},
	})
	virtualServer, stopVirtual, err := controlplanetest.Run(controlplanetest.Options{
		Configure: func(options *controlplane.APIServerOptions) {
			options.ValidatingLast = []controlplane.AdmissionPlugin{{
				Name: preflight.PluginName, New: preflight.Factory(preflight.Options{Judge: judge, Exempt: "syncer"}),
			}}
		},
	})
	if err != nil {
		return nil, stop, err
	}
	stops = append(stops, stopVirtual)
	user := rest.CopyConfig(virtualServer.Config)
	user.WarningHandler = w.warnings
	w.virtual = kubernetes.NewForConfigOrDie(user)

	for client, account := range map[kubernetes.Interface][2]string{w.virtual: {namespace, "default"}, w.host: {hostNamespace, workloadAccount}} {
		if _, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: account[0]}}, metav1.CreateOptions{}); err != nil {
			return nil, stop, err
		}
		if _, err := client.CoreV1().ServiceAccounts(account[0]).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account[1]}}, metav1.CreateOptions{}); err != nil {
			return nil, stop, err
		}
	}
	syncerConfig, err := virtualServer.API.ClientConfig("syncer", "system:masters")
	if err != nil {
		return nil, stop, err
	}
	hostConfig := rest.CopyConfig(hostServer.Config)
	hostConfig.Wrap(w.trials.wrap)
	s, err := syncer.New(syncer.Options{
		Virtual: syncerConfig, Host: hostConfig, Breaker: engine.Breaker{Share: 1},
		Env: resource.Env{
			Tenant: tenantName, HostNamespace: hostNamespace, Identity: "identity", ClusterDomain: "cluster.local",
			APIServerIP: "10.0.0.77", APIServerPort: 443, WorkloadServiceAccount: workloadAccount,
		},
	})
	if err != nil {
		return nil, stop, err
	}
	syncing, stopSyncer := context.WithCancel(ctx)
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- s.Run(syncing, func() { close(ready) }) }()
	stops = append(stops, func() error { stopSyncer(); return <-ended })
	select {
	case <-ready:
	case <-time.After(time.Minute):
		return nil, stop, errors.New("the syncer is not ready")
	}
	w.syncer = s
	current.Store(s)
	return w, stop, nil
}

type translator struct{ *syncer.Syncer }

func (t translator) Trials(ctx context.Context, gr schema.GroupResource, virtual, old resource.Object) ([]preflight.Trial, error) {
	trials, err := t.Syncer.Trials(ctx, gr, virtual, old)
	var out []preflight.Trial
	for _, trial := range trials {
		out = append(out, trial)
	}
	return out, err
}

// counter counts dry runs on the host.
type counter struct{ n atomic.Int64 }

func (c *counter) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		if request.URL.Query().Get("dryRun") != "" {
			c.n.Add(1)
		}
		return next.RoundTrip(request)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// collector keeps warnings.
type collector struct {
	mu    sync.Mutex
	texts []string
}

func (c *collector) HandleWarningHeader(_ int, _, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.texts = append(c.texts, text)
}

func (c *collector) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() { c.texts = nil }()
	return c.texts
}

// pod with one container, which change may change.
func pod(name string, change func(pod *corev1.Pod)) *corev1.Pod {
	out := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "example.org/main"}}},
	}
	if change != nil {
		change(out)
	}
	return out
}

// create a pod; it goes with the test.
func (w *world) create(t *testing.T, wanted *corev1.Pod, dryRun ...string) (*corev1.Pod, error) {
	t.Helper()
	made, err := w.virtual.CoreV1().Pods(namespace).Create(t.Context(), wanted, metav1.CreateOptions{DryRun: dryRun})
	if err == nil && len(dryRun) == 0 {
		t.Cleanup(func() { w.remove(t, made.Name) })
	}
	return made, err
}

// remove a pod, and wait until the host has none of it.
func (w *world) remove(t *testing.T, name string) {
	err := w.virtual.CoreV1().Pods(namespace).Delete(context.Background(), name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Errorf("delete %s: %v", name, err)
	}
	controlplanetest.Eventually(t, "the host pod of "+name+" is gone", func(ctx context.Context) (string, error) {
		_, err := w.host.CoreV1().Pods(hostNamespace).Get(ctx, hostName(name), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return "", nil
		}
		return "it is there", err
	})
}

func hostName(name string) string { return naming.Host(tenantName, namespace, name) }

// requireRefused waits until the host's rule is in force, and then tries what it refuses:
// the answer has the code and the words, and no name of the host's.
func (w *world) requireRefused(t *testing.T, wanted *corev1.Pod, code int32, words ...string) {
	t.Helper()
	controlplanetest.Eventually(t, "the rule is in force", func(context.Context) (string, error) {
		_, err := w.create(t, wanted.DeepCopy(), metav1.DryRunAll)
		if err == nil {
			return "it is not", nil
		}
		return "", nil
	})
	start := time.Now()
	_, err := w.create(t, wanted)
	requireWords(t, err, code, words...)
	// A real create asks the host, which takes its time on a busy machine; but it does not wait
	// for a turn until that is given up, after 5 s.
	require.Less(t, time.Since(start), 4*time.Second)
}

func requireWords(t *testing.T, err error, code int32, words ...string) {
	t.Helper()
	var status *apierrors.StatusError
	require.ErrorAs(t, err, &status)
	t.Log(err)
	require.Equal(t, code, status.ErrStatus.Code, "%v", err)
	for _, word := range words {
		require.Contains(t, err.Error(), word)
	}
	text := status.ErrStatus.String()
	for _, secret := range []string{tenantName, hostNamespace, workloadAccount} {
		require.False(t, strings.Contains(text, secret), "%s is in %s", secret, text)
	}
}

// requireNoRejection of what passed.
func (w *world) requireNoRejection(t *testing.T) {
	t.Helper()
	events, err := w.virtual.CoreV1().Events(namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "reason=HostRejected"})
	require.NoError(t, err)
	for _, event := range events.Items {
		t.Errorf("%s: %s", event.InvolvedObject.Name, event.Message)
	}
}
