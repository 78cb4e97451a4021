package simhost

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"

	"nestling.dev/nestling/pkg/leaktest"
)

// The stories of one host, since a process can have only one. They run one
// after the other, each in a namespace of its own; the last ones do harm.
func TestHost(t *testing.T) {
	dir := t.TempDir()
	since := time.Now()
	host, err := Start(t.Context(), Options{
		Dir:        filepath.Join(dir, "h"),
		Nodes:      3,
		Namespaces: []string{"nestling", "workloads", "jobs", "streams", "changes", "storage", "usage", "outage", "loss"},
		Heartbeat:  time.Second,
		NodeGrace:  5 * time.Second,
		Logs:       os.Stderr,
		Observe:    func(step string, took time.Duration) { t.Logf("%-20s %s", step, took.Round(time.Millisecond)) },
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, host.Stop())
		leaktest.VerifyNone(t, leftByUpstream()...)
	})
	t.Logf("ready after %s", time.Since(since).Round(time.Millisecond))
	hostClient, err := kubernetes.NewForConfig(host.Config())
	require.NoError(t, err)
	s := story{host: host, client: hostClient}

	t.Run("the pods of a deployment run on the nodes", s.deployment)
	t.Run("a job completes, a failing one fails", s.jobs)
	t.Run("logs and exec", s.streams)
	t.Run("a changed pod and an ephemeral container", s.changes)
	t.Run("claims get volumes", s.storage)
	t.Run("pods use what they say", s.usage)
	t.Run("an API that stops for a while", s.outage)
	t.Run("a node that dies and comes back", s.loss)
}

// leftByUpstream are the goroutines that upstream starts and never ends.
func leftByUpstream() []goleak.Option {
	var options []goleak.Option
	for _, function := range []string{
		// KWOK's queues, and its recorder of events, cannot be shut down.
		"sigs.k8s.io/kwok/pkg/utils/queue.(*weightDelayingQueue[...]).loopWorker",
		"k8s.io/client-go/tools/record.(*eventBroadcasterImpl).StartEventWatcher.func1",
		"k8s.io/apimachinery/pkg/watch.(*Broadcaster).loop",
		// Its workers end with the context but may be in the middle of a send.
		"sigs.k8s.io/kwok/pkg/kwok/controllers.(*PodController).watchResources",
		"sigs.k8s.io/kwok/pkg/kwok/controllers.(*NodeController).watchResources",
		"sigs.k8s.io/kwok/pkg/utils/informer.dummyCache[...].func2",
		// Client certificates in files are watched for as long as the process lives.
		"k8s.io/client-go/transport.(*dynamicClientCert).run",
		"k8s.io/client-go/transport.(*dynamicClientCert).runWorker",
		"k8s.io/apimachinery/pkg/util/wait.PollImmediateUntilWithContext",
		"k8s.io/apimachinery/pkg/util/wait.PollImmediateUntilWithContext.poller.func1.1",
		"k8s.io/client-go/util/workqueue.(*delayingType[...]).waitingLoop",
		"k8s.io/client-go/util/workqueue.(*Typed[...]).updateUnfinishedWorkLoop",
		// Logs are flushed, and their health checked, for as long as that, too.
		"k8s.io/klog/v2.(*flushDaemon).run.func1",
		"k8s.io/apimachinery/pkg/util/wait.Forever",
	} {
		options = append(options, goleak.IgnoreAnyFunction(function))
	}
	return options
}

type story struct {
	host   *Host
	client kubernetes.Interface
}

// eventually polls until check says nothing more.
func eventually(t *testing.T, within time.Duration, check func(ctx context.Context) string) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		complaint := check(t.Context())
		if complaint == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s: %s", within, complaint)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func template(name string, change ...func(*corev1.PodTemplateSpec)) corev1.PodTemplateSpec {
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": name}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "image:1"}}},
	}
	for _, c := range change {
		c(&template)
	}
	return template
}

func deploymentOf(name string, replicas int32, change ...func(*corev1.PodTemplateSpec)) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}},
			Template: template(name, change...),
		},
	}
}

func (s story) podRuns(t *testing.T, namespace, name string) {
	t.Helper()
	eventually(t, 20*time.Second, func(ctx context.Context) string {
		pod, err := s.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if pod.Status.Phase != corev1.PodRunning {
			return "phase " + string(pod.Status.Phase)
		}
		return ""
	})
}

func (s story) pod(t *testing.T, namespace, name string) {
	t.Helper()
	spec := template(name)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: spec.Labels}, Spec: spec.Spec}
	_, err := s.client.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
	s.podRuns(t, namespace, name)
}

func (s story) available(t *testing.T, namespace, name string, replicas int32) {
	t.Helper()
	eventually(t, 30*time.Second, func(ctx context.Context) string {
		deployment, err := s.client.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if deployment.Status.AvailableReplicas != replicas {
			return "status " + deployment.Status.String()
		}
		return ""
	})
}

func (s story) deployment(t *testing.T) {
	const namespace = "workloads"
	_, err := s.client.AppsV1().Deployments(namespace).Create(t.Context(), deploymentOf("web", 6), metav1.CreateOptions{})
	require.NoError(t, err)
	s.available(t, namespace, "web", 6)

	pods, err := s.client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, pods.Items, 6)
	nodes, ips := map[string]bool{}, map[string]bool{}
	for _, pod := range pods.Items {
		nodes[pod.Spec.NodeName] = true
		ips[pod.Status.PodIP] = true
		require.NotEmpty(t, pod.Status.HostIP)
		require.True(t, pod.Status.ContainerStatuses[0].Ready)
	}
	require.Len(t, nodes, 3, "the scheduler spreads them")
	require.Len(t, ips, 6)

	require.NoError(t, s.client.AppsV1().Deployments(namespace).Delete(t.Context(), "web", metav1.DeleteOptions{}))
	eventually(t, 20*time.Second, func(ctx context.Context) string {
		pods, err := s.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err.Error()
		}
		if len(pods.Items) > 0 {
			return "still there: " + pods.Items[0].Name
		}
		return ""
	})
}

func (s story) jobs(t *testing.T) {
	const namespace = "jobs"
	for name, exitCode := range map[string]string{"good": "0", "bad": "3"} {
		job := &batchv1.Job{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: batchv1.JobSpec{BackoffLimit: new(int32(0)), Template: template(name, func(template *corev1.PodTemplateSpec) {
				template.Annotations = map[string]string{ExitCodeAnnotation: exitCode}
				template.Spec.RestartPolicy = corev1.RestartPolicyNever
			})},
		}
		_, err := s.client.BatchV1().Jobs(namespace).Create(t.Context(), job, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	for name, condition := range map[string]batchv1.JobConditionType{"good": batchv1.JobComplete, "bad": batchv1.JobFailed} {
		eventually(t, 20*time.Second, func(ctx context.Context) string {
			job, err := s.client.BatchV1().Jobs(namespace).Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err.Error()
			}
			for _, c := range job.Status.Conditions {
				if c.Type == condition && c.Status == corev1.ConditionTrue {
					return ""
				}
			}
			return name + ": " + job.Status.String()
		})
	}
}

func (s story) streams(t *testing.T) {
	const namespace = "streams"
	s.pod(t, namespace, "pod")

	log, err := s.client.CoreV1().Pods(namespace).GetLogs("pod", &corev1.PodLogOptions{}).DoRaw(t.Context())
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(log), "tick 0 of pod/main\n"), string(log))

	following, err := s.client.CoreV1().Pods(namespace).GetLogs("pod", &corev1.PodLogOptions{Follow: true, TailLines: new(int64(0))}).Stream(t.Context())
	require.NoError(t, err)
	line := make([]byte, len("tick"))
	_, err = io.ReadFull(following, line)
	require.NoError(t, err)
	require.NoError(t, following.Close())

	var out bytes.Buffer
	err = s.exec(t, namespace, "pod", "input", &out, "sh", "-c", "hostname; exit 7")
	require.ErrorContains(t, err, "exit code 7")
	require.Equal(t, "pod\n", out.String())

	out.Reset()
	require.NoError(t, s.exec(t, namespace, "pod", "input", &out, "cat"))
	require.Equal(t, "input", out.String())
}

func (s story) exec(t *testing.T, namespace, pod, in string, out io.Writer, command ...string) error {
	t.Helper()
	request := s.client.CoreV1().RESTClient().Post().Namespace(namespace).Resource("pods").Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: command, Stdin: true, Stdout: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(s.host.Config(), "GET", request.URL().String())
	require.NoError(t, err)
	return executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader(in), Stdout: out})
}

func (s story) changes(t *testing.T) {
	const namespace = "changes"
	pods := s.client.CoreV1().Pods(namespace)
	s.pod(t, namespace, "pod")

	_, err := pods.Patch(t.Context(), "pod", types.StrategicMergePatchType,
		[]byte(`{"spec":{"containers":[{"name":"main","image":"image:2"}]}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	_, err = pods.Patch(t.Context(), "pod", types.StrategicMergePatchType,
		[]byte(`{"spec":{"ephemeralContainers":[{"name":"debug","image":"debug:1"}]}}`), metav1.PatchOptions{}, "ephemeralcontainers")
	require.NoError(t, err)
	eventually(t, 10*time.Second, func(ctx context.Context) string {
		pod, err := pods.Get(ctx, "pod", metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		main, ephemeral := pod.Status.ContainerStatuses[0], pod.Status.EphemeralContainerStatuses
		if main.Image != "image:2" || main.RestartCount != 1 || len(ephemeral) != 1 || ephemeral[0].State.Running == nil {
			return pod.Status.String()
		}
		return ""
	})

	// Grace: a pod that takes a while to stop.
	_, err = pods.Patch(t.Context(), "pod", types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"`+StopsAfterAnnotation+`":"1s"}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	since := time.Now()
	require.NoError(t, pods.Delete(t.Context(), "pod", metav1.DeleteOptions{}))
	eventually(t, 10*time.Second, func(ctx context.Context) string {
		if _, err := pods.Get(ctx, "pod", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return "still there"
		}
		return ""
	})
	require.Greater(t, time.Since(since), time.Second)
}

func (s story) outage(t *testing.T) {
	const namespace = "outage"
	_, err := s.client.AppsV1().Deployments(namespace).Create(t.Context(), deploymentOf("before", 10), metav1.CreateOptions{})
	require.NoError(t, err)
	s.host.StopAPI() // while the pods are being started
	_, err = s.client.CoreV1().Namespaces().Get(t.Context(), namespace, metav1.GetOptions{})
	require.ErrorContains(t, err, "refused")
	select {
	case <-time.After(2 * time.Second): // the length of the outage
	case <-t.Context().Done():
	}
	require.NoError(t, s.host.StartAPI(t.Context()))

	s.available(t, namespace, "before", 10)
	_, err = s.client.AppsV1().Deployments(namespace).Create(t.Context(), deploymentOf("after", 2), metav1.CreateOptions{})
	require.NoError(t, err)
	s.available(t, namespace, "after", 2)
}

func (s story) loss(t *testing.T) {
	const namespace = "loss"
	readyIs := func(want corev1.ConditionStatus) {
		t.Helper()
		eventually(t, 30*time.Second, func(ctx context.Context) string {
			node, err := s.client.CoreV1().Nodes().Get(ctx, NodeName(2), metav1.GetOptions{})
			if err != nil {
				return err.Error()
			}
			for _, c := range node.Status.Conditions {
				if c.Type == corev1.NodeReady && c.Status == want {
					return ""
				}
			}
			return "Ready is not " + string(want)
		})
	}
	pinned := func(template *corev1.PodTemplateSpec) {
		template.Spec.NodeSelector = map[string]string{corev1.LabelHostname: NodeName(2)}
	}
	_, err := s.client.AppsV1().Deployments(namespace).Create(t.Context(), deploymentOf("web", 1, pinned), metav1.CreateOptions{})
	require.NoError(t, err)
	s.available(t, namespace, "web", 1)

	require.NoError(t, s.host.StopNode(t.Context(), NodeName(2)))
	readyIs(corev1.ConditionUnknown)
	s.available(t, namespace, "web", 0)

	require.NoError(t, s.host.StartNode(t.Context(), NodeName(2)))
	readyIs(corev1.ConditionTrue)
	s.available(t, namespace, "web", 1)
}

func TestBadOptions(t *testing.T) {
	t.Parallel()
	for want, opts := range map[string]Options{
		"nodes: -1 is not between 1 and 5000":             {Nodes: -1},
		"pods per node: 300 is not between 1 and 250":     {PodsPerNode: 300},
		"heartbeat: 1ms is less than a second":            {Heartbeat: time.Millisecond},
		"node grace 3s is less than two heartbeats of 2s": {Heartbeat: 2 * time.Second, NodeGrace: 3 * time.Second},
	} {
		_, err := New(opts)
		require.ErrorContains(t, err, want)
	}
}
