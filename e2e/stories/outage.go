package stories

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/syncer/explain"
	"nestling.dev/nestling/syncer/naming"
)

const (
	// askEvery is how often the tenant's API is asked during an outage.
	askEvery = 200 * time.Millisecond
	// answerWithin is how long any answer may take, while the machine does other things, and
	// usuallyWithin is how long half of them may.
	answerWithin, usuallyWithin = 30 * time.Second, time.Second
)

func hostAPIAway(t *testing.T, w *World) {
	ctx, space := t.Context(), namespace(t, w.A, "outage")
	calm := newCalm(t, w, space)
	synced(t, w, space, "changed", "before")
	synced(t, w, space, "deleted", "before")
	doomed := runPod(t, w, w.A, space, `
metadata: {name: doomed}
spec: {containers: [{name: main, image: IMAGE, command: IDLE}]}
`)
	host := w.Host.CoreV1().ConfigMaps(w.HostNamespace)
	hostName := func(name string) string { return naming.Host(w.A.Name, space, name) }
	for _, name := range []string{"changed", "deleted"} {
		eventually(t, "ConfigMap "+name+" on the host", func(ctx context.Context) (bool, string) {
			_, err := host.Get(ctx, hostName(name), metav1.GetOptions{})
			return err == nil, errText(err)
		})
	}
	restarts := controlPlaneRestarts(t, w, w.A.Name)

	require.NoError(t, w.StopHostAPI(ctx))
	away := time.Now()
	started := false
	t.Cleanup(func() {
		if !started {
			_ = w.StartHostAPI(context.Background())
		}
	})
	asking := ask(t, w.A)
	// All that a user does goes on.
	client := w.A.Client
	createDeployment(t, w, w.A, space, "meanwhile", 3, "")
	synced(t, w, space, "new", "made meanwhile")
	_, err := client.CoreV1().ConfigMaps(space).Patch(ctx, "changed", types.MergePatchType, []byte(`{"data":{"value":"meanwhile"}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	require.NoError(t, client.CoreV1().ConfigMaps(space).Delete(ctx, "deleted", metav1.DeleteOptions{}))
	require.NoError(t, client.CoreV1().Pods(space).Delete(ctx, "doomed", metav1.DeleteOptions{}))
	eventually(t, "the Deployment's pods, waiting", func(ctx context.Context) (bool, string) {
		list, err := client.CoreV1().Pods(space).List(ctx, metav1.ListOptions{LabelSelector: "app=meanwhile"})
		return err == nil && len(list.Items) == 3, errText(err)
	})
	for object, state := range map[string]explain.State{"cm/new": explain.Unreachable, "pod/" + podsOf(t, w.A, space, "app=meanwhile")[0].Name: explain.Waiting} {
		eventually(t, object+" to be explained", func(context.Context) (bool, string) {
			got := explanationOf(t, w.A, space, object)
			return got.State == state && slices.ContainsFunc(got.Stuck, func(on explain.Stuck) bool { return on.Reason == "HostUnreachable" }), asJSON(got)
		})
	}
	select {
	case <-time.After(w.Outage - time.Since(away)):
	case <-ctx.Done():
		require.NoError(t, ctx.Err())
	}
	calmNow := podsOf(t, w.A, space, "app=calm")
	require.Len(t, calmNow, calmPods)

	require.NoError(t, w.StartHostAPI(ctx))
	started = true
	back := time.Now()
	reachable := reachableForPods(t, w)
	asked, failures := asking.stop()
	require.Empty(t, failures, "the tenant's API was asked %d times", asked)
	require.Less(t, asking.median(), usuallyWithin)

	pods := waitReadyPods(t, w.A, space, "meanwhile", 3)
	caughtUp := time.Now()
	for name, want := range map[string]string{"new": "made meanwhile", "changed": "meanwhile"} {
		eventually(t, "ConfigMap "+name+" on the host", func(ctx context.Context) (bool, string) {
			now, err := host.Get(ctx, hostName(name), metav1.GetOptions{})
			return err == nil && now.Data["value"] == want, errText(err)
		})
	}
	eventually(t, "the end of the deleted ConfigMap", func(ctx context.Context) (bool, string) {
		_, err := host.Get(ctx, hostName("deleted"), metav1.GetOptions{})
		return apierrors.IsNotFound(err), errText(err)
	})
	waitGone(t, w, space, doomed)
	since := func(at time.Time) float64 { return at.Sub(back).Seconds() }
	w.Report(fmt.Sprintf("Host API away for %.0f s: the tenant's API answered %d of %d requests. After the host API was ready again, its Service answered pods within %.0f s; pods made meanwhile were on the host within %.0f s, ready there within %.0f s, and ready in the tenant within %.1f s",
		back.Sub(away).Seconds(), asked-len(failures), asked, since(<-reachable),
		since(latest(t, w, pods, func(host *corev1.Pod) time.Time { return host.CreationTimestamp.Time })),
		since(latest(t, w, pods, readySince)), since(caughtUp)))
	requireAgreement(t, w, space)
	calm.requireUntouched(t)
	requireNoRestart(t, w, w.A.Name, restarts)
}

// reachableForPods tells when the host's API answers behind its Service: after an
// outage, the host's own kube-proxy may take longer than we do.
func reachableForPods(t *testing.T, w *World) <-chan time.Time {
	t.Helper()
	out := make(chan time.Time, 1)
	if !w.Real { // nothing plays Services there
		out <- time.Now()
		return out
	}
	service, err := w.Host.CoreV1().Services(metav1.NamespaceDefault).Get(t.Context(), "kubernetes", metav1.GetOptions{})
	require.NoError(t, err)
	config := rest.CopyConfig(w.HostConfig)
	config.Host, config.Timeout = "https://"+service.Spec.ClusterIP+":443", time.Second
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	go func() {
		defer close(out)
		_ = wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
			if client.CoreV1().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() != nil {
				return false, nil
			}
			out <- time.Now()
			return true, nil
		})
	}()
	return out
}

// latest of the host pods' times, to the second that objects have.
func latest(t *testing.T, w *World, pods []corev1.Pod, of func(*corev1.Pod) time.Time) time.Time {
	t.Helper()
	var out time.Time
	for _, pod := range pods {
		if at := of(hostPodOf(t, w, w.A, &pod)); at.After(out) {
			out = at
		}
	}
	return out
}

func readySince(pod *corev1.Pod) time.Time {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.LastTransitionTime.Time
		}
	}
	return time.Time{}
}

// asking is a user who never stops.
type asking struct {
	cancel   context.CancelFunc
	ended    chan struct{}
	asked    int
	failures []string
	times    []time.Duration // of the answers
}

// ask reads and writes, until it is stopped.
func ask(t *testing.T, tenant *Tenant) *asking {
	t.Helper()
	config := rest.CopyConfig(tenant.Config)
	config.Timeout = answerWithin
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	a := &asking{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(a.ended)
		ticker := time.NewTicker(askEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			begin := time.Now()
			_, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
			if err == nil {
				_, err = client.CoreV1().ConfigMaps("default").Create(ctx,
					&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "asking-"}}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			}
			if ctx.Err() != nil {
				return
			}
			a.asked++
			a.times = append(a.times, time.Since(begin))
			if err != nil {
				a.failures = append(a.failures, fmt.Sprintf("after %s: %v", time.Since(begin).Round(time.Millisecond), err))
			}
		}
	}()
	t.Cleanup(cancel)
	return a
}

// median of the answers' times, once it has stopped.
func (a *asking) median() time.Duration {
	if len(a.times) == 0 {
		return 0
	}
	slices.Sort(a.times)
	return a.times[len(a.times)/2]
}

func (a *asking) stop() (asked int, failures []string) {
	a.cancel()
	<-a.ended
	return a.asked, a.failures
}
