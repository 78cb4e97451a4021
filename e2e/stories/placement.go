package stories

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// placement is where pods go: the host's scheduler decides, by the tenant's wishes.
func placement() []Story {
	return []Story{
		{Name: "a pod goes where its author wants it", Run: chosenNode},
		{Name: "a pod that fits nowhere waits, and says so", Run: unschedulable},
		{Name: "a gated pod is not placed before its gate is lifted", Run: schedulingGate},
		{Name: "pods keep apart, or spread, as their author wants it", Run: apart},
		{Name: "a priority class that the host does not know keeps no pod from running", Run: priority},
		{Name: "a pod has the ports of its node that it asks for", Real: true, Run: hostPort},
	}
}

func chosenNode(t *testing.T, w *World) {
	space := namespace(t, w.A, "chosen")
	node := nodeNames(t, w)[0]
	byName := runPod(t, w, w.A, space, `
metadata: {name: by-name}
spec: {nodeName: `+node+`, containers: [{name: main, image: IMAGE}]}
`)
	bySelector := runPod(t, w, w.A, space, `
metadata: {name: by-selector}
spec: {nodeSelector: {kubernetes.io/hostname: `+node+`}, containers: [{name: main, image: IMAGE}]}
`)
	byAffinity := runPod(t, w, w.A, space, `
metadata: {name: by-affinity}
spec:
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [`+node+`]}]}]
  containers: [{name: main, image: IMAGE}]
`)
	for _, pod := range []*corev1.Pod{byName, bySelector, byAffinity} {
		require.Equal(t, node, pod.Spec.NodeName)
		require.Equal(t, node, hostPodOf(t, w, w.A, pod).Spec.NodeName)
	}
	waitEvent(t, w.A, space, "by-selector", "Scheduled", "Successfully assigned "+space+"/by-selector to "+node)
}

func unschedulable(t *testing.T, w *World) {
	space := namespace(t, w.A, "nowhere")
	createPod(t, w, w.A, space, `
metadata: {name: lost}
spec: {nodeSelector: {no: such-node}, containers: [{name: main, image: IMAGE}]}
`)
	pod := waitPod(t, w.A, space, "lost", "is unschedulable", func(pod *corev1.Pod) bool { return condition(pod, corev1.PodScheduled) == corev1.ConditionFalse })
	require.Equal(t, corev1.PodPending, pod.Status.Phase)
	require.Empty(t, pod.Spec.NodeName)
	event := waitEvent(t, w.A, space, "lost", "FailedScheduling", "didn't match Pod's node affinity/selector")
	require.Equal(t, pod.UID, event.InvolvedObject.UID)
	requireTenantsWords(t, w, hostPodOf(t, w, w.A, pod), asJSON(pod.Status)+asJSON(event))

	// What is pending can be deleted.
	require.NoError(t, w.A.Client.CoreV1().Pods(space).Delete(t.Context(), "lost", metav1.DeleteOptions{}))
	waitNoHostPods(t, w, w.A, space)

	createPod(t, w, w.A, space, `
metadata: {name: huge}
spec: {containers: [{name: main, image: IMAGE, resources: {requests: {memory: 100Ti}}}]}
`)
	waitEvent(t, w.A, space, "huge", "FailedScheduling", "Insufficient memory")
}

func schedulingGate(t *testing.T, w *World) {
	space := namespace(t, w.A, "gated")
	node := nodeNames(t, w)[0]
	pod := createPod(t, w, w.A, space, `
metadata: {name: gated}
spec: {schedulingGates: [{name: example.com/quota}], containers: [{name: main, image: IMAGE}]}
`)
	waitPod(t, w.A, space, pod.Name, "is gated", func(pod *corev1.Pod) bool {
		return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodScheduled && c.Reason == corev1.PodReasonSchedulingGated
		})
	})
	patchPod(t, w.A, pod, `{"spec":{"nodeSelector":{"kubernetes.io/hostname":"`+node+`"}}}`)
	patchPod(t, w.A, pod, `{"spec":{"schedulingGates":[{"$patch":"delete","name":"example.com/quota"}]}}`)
	require.Equal(t, node, waitPod(t, w.A, space, pod.Name, "is ready", isReady).Spec.NodeName)
}

func apart(t *testing.T, w *World) {
	space := namespace(t, w.A, "apart")
	template := func(name string) string {
		return `
metadata: {name: ` + name + `, labels: {app: loner}}
spec:
  nodeSelector: {kubernetes.io/hostname: ` + nodeNames(t, w)[0] + `}
  affinity:
    podAntiAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
      - {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: loner}}}
  containers: [{name: main, image: IMAGE}]
`
	}
	runPod(t, w, w.A, space, template("first"))
	createPod(t, w, w.A, space, template("second"))
	waitEvent(t, w.A, space, "second", "FailedScheduling", "anti-affinity")
	// Another namespace's pods, or another tenant's, are no neighbours.
	for _, tenant := range []*Tenant{w.A, w.B} {
		runPod(t, w, tenant, namespace(t, tenant, "apart"), template("first"))
	}
	require.NoError(t, w.A.Client.CoreV1().Pods(space).Delete(t.Context(), "first", metav1.DeleteOptions{}))
	waitPod(t, w.A, space, "second", "has the place", isReady)

	near := runPod(t, w, w.A, space, `
metadata: {name: near, labels: {app: friend}}
spec:
  affinity:
    podAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
      - {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: loner}}}
  topologySpreadConstraints:
  - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: friend}}, matchLabelKeys: [pod-template-hash]}
  containers: [{name: main, image: IMAGE}]
`)
	require.Equal(t, nodeNames(t, w)[0], near.Spec.NodeName)
}

func priority(t *testing.T, w *World) {
	space := namespace(t, w.A, "priority")
	class, err := w.A.Client.SchedulingV1().PriorityClasses().Create(t.Context(),
		&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{GenerateName: "story-"}, Value: 1000}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = w.A.Client.SchedulingV1().PriorityClasses().Delete(context.Background(), class.Name, metav1.DeleteOptions{})
	})
	waitClass(t, w, w.A, class.Name)
	pod := runPod(t, w, w.A, space, `
metadata: {name: important}
spec: {priorityClassName: `+class.Name+`, containers: [{name: main, image: IMAGE}]}
`)
	require.EqualValues(t, 1000, *pod.Spec.Priority)
	require.Zero(t, *hostPodOf(t, w, w.A, pod).Spec.Priority)
}

func hostPort(t *testing.T, w *World) {
	space := namespace(t, w.A, "ports")
	pod := runPod(t, w, w.A, space, `
metadata: {name: server}
spec:
  containers:
  - {name: main, image: IMAGE, command: [agnhost, netexec, --http-port=8080], ports: [{containerPort: 8080, hostPort: 28080}]}
`)
	client := runPod(t, w, w.A, space, `
metadata: {name: client}
spec: {containers: [{name: main, image: IMAGE}]}
`)
	eventuallyShell(t, w.A, client, "curl -sS -m 5 http://"+pod.Status.HostIP+":28080/hostname", "server")
}
