package stories

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func workloads() []Story {
	return slices.Concat([]Story{
		{Name: "a Deployment runs its replicas, and shows where", Run: deployment},
		{Name: "a Job completes", Run: job},
		{Name: "a Job that fails shows why", Real: true, Run: failingJob},
		{Name: "a CronJob runs on time and by hand", Run: cronJob},
		{Name: "a DaemonSet has a pod on every node", Run: daemonSet},
		{Name: "a StatefulSet keeps order and names", Run: statefulSet},
	}, placement(), containers(), services(), usage())
}

func deployment(t *testing.T, w *World) {
	ctx, client, space := t.Context(), w.A.Client, namespace(t, w.A, "deployment")
	_, err := client.AppsV1().Deployments(space).Create(ctx, decode[appsv1.Deployment](t, w, `
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: web, image: IMAGE}]
`), metav1.CreateOptions{})
	require.NoError(t, err)
	waitReplicas := func(want int32) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d replicas", want), func(ctx context.Context) (bool, string) {
			found, err := client.AppsV1().Deployments(space).Get(ctx, "web", metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			return found.Status.ObservedGeneration == found.Generation && found.Status.AvailableReplicas == want && found.Status.Replicas == want, asJSON(found.Status)
		})
	}
	waitReplicas(3)

	pods := podsOf(t, w.A, space, "app=web")
	require.Len(t, pods, 3)
	nodes := nodeNames(t, w)
	addresses := map[string]bool{}
	for _, pod := range pods {
		require.Equal(t, corev1.PodRunning, pod.Status.Phase)
		require.Contains(t, nodes, pod.Spec.NodeName)
		require.NotEmpty(t, pod.Status.HostIP)
		addresses[pod.Status.PodIP] = true
		host := hostPodOf(t, w, w.A, &pod)
		require.Equal(t, pod.Spec.NodeName, host.Spec.NodeName)
		require.Equal(t, pod.Status.PodIP, host.Status.PodIP)
		requireTenantsWords(t, w, host, asJSON(pod.Status)+asJSON(pod.Spec))
	}
	require.Len(t, addresses, 3, "each pod has an address of its own")
	if w.Kubectl != "" {
		wide := kubectl(t, w, w.A, space, "get", "pods", "-o", "wide")
		for _, pod := range pods {
			require.Regexp(t, fmt.Sprintf(`%s +1/1 +Running +0 +\S+ +%s +%s `, pod.Name, pod.Status.PodIP, pod.Spec.NodeName), wide)
		}
		require.Contains(t, kubectl(t, w, w.A, space, "rollout", "status", "deployment/web"), "successfully rolled out")
	}

	for _, size := range []int32{1, 2} {
		_, err = client.AppsV1().Deployments(space).UpdateScale(ctx, "web",
			&autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: space}, Spec: autoscalingv1.ScaleSpec{Replicas: size}}, metav1.UpdateOptions{})
		require.NoError(t, err)
		waitReplicas(size)
	}
	require.NoError(t, client.AppsV1().Deployments(space).Delete(ctx, "web", metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)}))
	waitNoHostPods(t, w, w.A, space)
}

func job(t *testing.T, w *World) {
	client, space := w.A.Client, namespace(t, w.A, "job")
	_, err := client.BatchV1().Jobs(space).Create(t.Context(), decode[batchv1.Job](t, w, `
metadata: {name: sum}
spec:
  completions: 3
  parallelism: 2
  template:
    spec:
      restartPolicy: Never
      containers: [{name: sum, image: IMAGE, command: [sh, -c, "echo part $JOB_COMPLETION_INDEX done"]}]
  completionMode: Indexed
`), metav1.CreateOptions{})
	require.NoError(t, err)
	waitJob(t, w.A, space, "sum", batchv1.JobComplete)
	pods := podsOf(t, w.A, space, "batch.kubernetes.io/job-name=sum")
	require.Len(t, pods, 3)
	for _, pod := range pods {
		require.Equal(t, corev1.PodSucceeded, pod.Status.Phase)
		if w.Real {
			require.Equal(t, "part "+pod.Labels["batch.kubernetes.io/job-completion-index"]+" done\n", logs(t, w.A, &pod, corev1.PodLogOptions{}))
		}
	}
	require.NoError(t, client.BatchV1().Jobs(space).Delete(t.Context(), "sum", metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationForeground)}))
	waitNoHostPods(t, w, w.A, space)
}

func failingJob(t *testing.T, w *World) {
	client, space := w.A.Client, namespace(t, w.A, "failing")
	_, err := client.BatchV1().Jobs(space).Create(t.Context(), decode[batchv1.Job](t, w, `
metadata: {name: fails}
spec:
  backoffLimit: 4
  podFailurePolicy:
    rules: [{action: FailJob, onExitCodes: {operator: In, values: [42]}}]
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: IMAGE, command: [sh, -c, "echo what went wrong > /dev/termination-log; exit 42"]}]
`), metav1.CreateOptions{})
	require.NoError(t, err)
	found := waitJob(t, w.A, space, "fails", batchv1.JobFailed)
	require.Equal(t, "PodFailurePolicy", found.Status.Conditions[len(found.Status.Conditions)-1].Reason)
	pods := podsOf(t, w.A, space, "batch.kubernetes.io/job-name=fails")
	require.Len(t, pods, 1)
	ended := containerStatus(&pods[0], "main").State.Terminated
	require.Equal(t, corev1.PodFailed, pods[0].Status.Phase)
	require.EqualValues(t, 42, ended.ExitCode)
	require.Equal(t, "what went wrong\n", ended.Message)
}

func cronJob(t *testing.T, w *World) {
	client, space := w.A.Client, namespace(t, w.A, "cron")
	_, err := client.BatchV1().CronJobs(space).Create(t.Context(), decode[batchv1.CronJob](t, w, `
metadata: {name: tick}
spec:
  schedule: "* * * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: tick, image: IMAGE, command: [date]}]
`), metav1.CreateOptions{})
	require.NoError(t, err)
	if w.Kubectl != "" {
		kubectl(t, w, w.A, space, "create", "job", "--from=cronjob/tick", "by-hand")
		waitJob(t, w.A, space, "by-hand", batchv1.JobComplete)
	}
	eventually(t, "a run on time", func(ctx context.Context) (bool, string) {
		found, err := client.BatchV1().CronJobs(space).Get(ctx, "tick", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return found.Status.LastSuccessfulTime != nil, asJSON(found.Status)
	})
	if w.Kubectl != "" {
		kubectl(t, w, w.A, space, "patch", "cronjob", "tick", "-p", `{"spec":{"suspend":true}}`)
		require.Regexp(t, `tick +\* \* \* \* \* +<none> +True `, kubectl(t, w, w.A, space, "get", "cronjob", "tick"))
	}
}

func daemonSet(t *testing.T, w *World) {
	client, space := w.A.Client, namespace(t, w.A, "daemons")
	_, err := client.AppsV1().DaemonSets(space).Create(t.Context(), decode[appsv1.DaemonSet](t, w, `
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: agent, image: IMAGE}]
`), metav1.CreateOptions{})
	require.NoError(t, err)
	nodes := nodeNames(t, w)
	eventually(t, "the daemons", func(ctx context.Context) (bool, string) {
		found, err := client.AppsV1().DaemonSets(space).Get(ctx, "agent", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return int(found.Status.NumberAvailable) == len(nodes), asJSON(found.Status)
	})
	var covered []string
	for _, pod := range podsOf(t, w.A, space, "app=agent") {
		covered = append(covered, pod.Spec.NodeName)
	}
	slices.Sort(covered)
	require.Equal(t, nodes, covered)
}

func statefulSet(t *testing.T, w *World) {
	ctx, client, space := t.Context(), w.A.Client, namespace(t, w.A, "stateful")
	_, err := client.AppsV1().StatefulSets(space).Create(ctx, decode[appsv1.StatefulSet](t, w, `
metadata: {name: db}
spec:
  replicas: 3
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: db, image: IMAGE}]
`), metav1.CreateOptions{})
	require.NoError(t, err)
	scale := func(size int32) {
		_, err := client.AppsV1().StatefulSets(space).UpdateScale(ctx, "db",
			&autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: "db", Namespace: space}, Spec: autoscalingv1.ScaleSpec{Replicas: size}}, metav1.UpdateOptions{})
		require.NoError(t, err)
	}
	members := func(want ...string) map[string]corev1.Pod {
		t.Helper()
		found := map[string]corev1.Pod{}
		eventually(t, "members "+strings.Join(want, ", "), func(ctx context.Context) (bool, string) {
			clear(found)
			var names []string
			list, err := client.CoreV1().Pods(space).List(ctx, metav1.ListOptions{})
			if err != nil {
				return false, err.Error()
			}
			ready := true
			for _, pod := range list.Items {
				found[pod.Name] = pod
				names = append(names, pod.Name)
				ready = ready && isReady(&pod) && pod.DeletionTimestamp == nil
			}
			slices.Sort(names)
			return ready && slices.Equal(names, want), strings.Join(names, ", ")
		})
		return found
	}
	first := members("db-0", "db-1", "db-2")
	for i := range 2 { // each is made when the one before is ready
		before, after := first[fmt.Sprintf("db-%d", i)], first[fmt.Sprintf("db-%d", i+1)]
		require.False(t, after.CreationTimestamp.Time.Before(before.CreationTimestamp.Time))
	}
	if w.Real {
		for name, pod := range first {
			require.Equal(t, name, shell(t, w.A, &pod, "", "hostname"))
		}
	}
	scale(1)
	require.Equal(t, first["db-0"].UID, members("db-0")["db-0"].UID, "the first is left alone")
	scale(2)
	again := members("db-0", "db-1")
	require.NotEqual(t, first["db-1"].UID, again["db-1"].UID)

	// A member that is deleted comes back under its name.
	require.NoError(t, client.CoreV1().Pods(space).Delete(ctx, "db-0", metav1.DeleteOptions{}))
	eventually(t, "another db-0", func(ctx context.Context) (bool, string) {
		pod, err := client.CoreV1().Pods(space).Get(ctx, "db-0", metav1.GetOptions{})
		return err == nil && pod.UID != first["db-0"].UID && isReady(pod), errText(err)
	})
	require.Equal(t, again["db-1"].UID, members("db-0", "db-1")["db-1"].UID)
}

func waitJob(t *testing.T, tenant *Tenant, namespace, name string, kind batchv1.JobConditionType) *batchv1.Job {
	t.Helper()
	var found *batchv1.Job
	eventually(t, "job "+name+" "+string(kind), func(ctx context.Context) (bool, string) {
		var err error
		if found, err = tenant.Client.BatchV1().Jobs(namespace).Get(ctx, name, metav1.GetOptions{}); err != nil {
			return false, err.Error()
		}
		return slices.ContainsFunc(found.Status.Conditions, func(c batchv1.JobCondition) bool {
			return c.Type == kind && c.Status == corev1.ConditionTrue
		}), asJSON(found.Status)
	})
	return found
}

// podsOf is the pods with a label.
func podsOf(t *testing.T, tenant *Tenant, namespace, selector string) []corev1.Pod {
	t.Helper()
	pods, err := tenant.Client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: selector})
	require.NoError(t, err)
	return pods.Items
}

// nodeNames are the host's nodes, sorted; the tenant has the same.
func nodeNames(t *testing.T, w *World) []string {
	t.Helper()
	nodes, err := w.Host.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	var names []string
	for _, node := range nodes.Items {
		names = append(names, node.Name)
	}
	slices.Sort(names)
	return names
}

// waitNoHostPods waits until a namespace of a tenant has no pods on the host.
func waitNoHostPods(t *testing.T, w *World, tenant *Tenant, namespace string) {
	t.Helper()
	eventually(t, "no host pods of "+namespace, func(ctx context.Context) (bool, string) {
		pods, err := w.Host.CoreV1().Pods(w.HostNamespace).List(ctx, metav1.ListOptions{
			LabelSelector: "nestling.dev/tenant=" + tenant.Name + ",nestling.dev/namespace=" + namespace})
		if err != nil {
			return false, err.Error()
		}
		return len(pods.Items) == 0, fmt.Sprint(len(pods.Items), " pods")
	})
}
