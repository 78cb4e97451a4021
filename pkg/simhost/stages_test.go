package simhost

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kwok/pkg/utils/lifecycle"
)

var (
	past  = metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	later = metav1.NewTime(time.Date(2026, 1, 1, 0, 1, 0, 0, time.UTC))
)

// web is a pod that has just been bound to a node.
func web(change ...func(pod *corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", UID: "u1", Generation: 1},
		Spec: corev1.PodSpec{
			NodeName:       "node-1",
			InitContainers: []corev1.Container{{Name: "init", Image: "init:1"}},
			Containers:     []corev1.Container{{Name: "web", Image: "web:1"}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodPending},
	}
	for _, c := range change {
		c(pod)
	}
	return pod
}

func started(pod *corev1.Pod) {
	pod.Status = running(pod, []string{"198.18.0.1"}, []string{"10.128.1.1"}, past)
}

func TestStageOfAPod(t *testing.T) {
	t.Parallel()
	beingDeleted := func(pod *corev1.Pod) {
		pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &later, new(int64(30))
	}
	forced := func(pod *corev1.Pod) { pod.DeletionGracePeriodSeconds = new(int64(0)) }
	withFinalizer := func(pod *corev1.Pod) { pod.Finalizers = []string{"batch.kubernetes.io/job-tracking"} }
	ofAJob := func(pod *corev1.Pod) { pod.Labels = map[string]string{"batch.kubernetes.io/job-name": "j"} }
	changed := func(pod *corev1.Pod) { pod.Generation++ }
	gated := func(pod *corev1.Pod) { pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "gate"}} }
	gateOpened := func(pod *corev1.Pod) {
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: "gate", Status: corev1.ConditionTrue})
	}
	ended := func(pod *corev1.Pod) { pod.Status = finished(pod, 0, later) }

	for name, test := range map[string]struct {
		pod  *corev1.Pod
		want string
	}{
		"a bound pod starts":                            {web(), "start"},
		"a running pod stays":                           {web(started), ""},
		"a changed pod is followed":                     {web(started, changed), "follow"},
		"a gated pod is not ready":                      {web(gated, started), ""},
		"an opened gate is followed":                    {web(gated, started, gateOpened), "follow"},
		"a job's pod starts":                            {web(ofAJob), "start"},
		"a job's pod finishes":                          {web(ofAJob, started), "finish"},
		"a finished pod stays":                          {web(ofAJob, started, ended), ""},
		"a deleted pod goes":                            {web(started, beingDeleted), "remove"},
		"a deleted pod that never started goes":         {web(beingDeleted), "remove"},
		"a deleted pod with a finalizer ends":           {web(started, withFinalizer, beingDeleted), "stop"},
		"a deleted and ended pod goes":                  {web(started, withFinalizer, ended, beingDeleted), "remove-ended"},
		"a pod that was let go stays for its finalizer": {web(started, withFinalizer, ended, beingDeleted, forced), ""},
		"a deleted and changed pod only goes":           {web(started, changed, beingDeleted), "remove"},
		"a deleted pod of a job does not finish":        {web(ofAJob, started, beingDeleted), "remove"},
		"a changed pod of a job finishes all same":      {web(ofAJob, started, changed), "finish"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			life, err := lifecycle.NewLifecycle(stages()[podResource])
			require.NoError(t, err)
			possible, err := life.ListAllPossible(t.Context(), &lifecycle.Event{Labels: test.pod.Labels, Annotations: test.pod.Annotations, Data: test.pod})
			require.NoError(t, err)
			var names []string
			for _, stage := range possible {
				names = append(names, stage.Name())
			}
			var want []string
			if test.want != "" {
				want = []string{test.want}
			}
			if diff := cmp.Diff(want, names); diff != "" {
				t.Errorf("stages (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStageOfANode(t *testing.T) {
	t.Parallel()
	healthyNode := node(1, 110, past)
	lost := healthyNode.DeepCopy()
	for i := range lost.Status.Conditions {
		lost.Status.Conditions[i].Status = corev1.ConditionUnknown
	}
	for want, node := range map[string]*corev1.Node{"report": healthyNode, "recover": lost} {
		life, err := lifecycle.NewLifecycle(stages()[nodeResource])
		require.NoError(t, err)
		stage, err := life.Match(t.Context(), &lifecycle.Event{Data: node})
		require.NoError(t, err)
		require.Equal(t, want, stage.Name())
	}
}

func TestAnnotationsSetTheDelay(t *testing.T) {
	t.Parallel()
	pod := web(started)
	pod.Annotations = map[string]string{RunsForAnnotation: "3s"}
	life, err := lifecycle.NewLifecycle(stages()[podResource])
	require.NoError(t, err)
	event := &lifecycle.Event{Annotations: pod.Annotations, Data: pod}
	stage, err := life.Match(t.Context(), event)
	require.NoError(t, err)
	require.Equal(t, "finish", stage.Name())
	delay, _, err := stage.Delay(t.Context(), event, later.Time)
	require.NoError(t, err)
	require.Equal(t, 3*time.Second, delay)
}

func TestRunning(t *testing.T) {
	t.Parallel()
	sidecar := corev1.ContainerRestartPolicyAlways
	pod := web(func(pod *corev1.Pod) {
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, corev1.Container{Name: "proxy", Image: "proxy:1", RestartPolicy: &sidecar})
	})
	status := running(pod, []string{"198.18.0.1"}, []string{"10.128.1.1"}, past)

	runningSince := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: past}}
	want := corev1.PodStatus{
		ObservedGeneration: 1,
		Phase:              corev1.PodRunning,
		StartTime:          &past,
		HostIP:             "198.18.0.1",
		HostIPs:            []corev1.HostIP{{IP: "198.18.0.1"}},
		PodIP:              "10.128.1.1",
		PodIPs:             []corev1.PodIP{{IP: "10.128.1.1"}},
		Conditions: []corev1.PodCondition{
			{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionTrue, ObservedGeneration: 1, LastTransitionTime: past},
			{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, ObservedGeneration: 1, LastTransitionTime: past},
			{Type: corev1.ContainersReady, Status: corev1.ConditionTrue, ObservedGeneration: 1, LastTransitionTime: past},
			{Type: corev1.PodReady, Status: corev1.ConditionTrue, ObservedGeneration: 1, LastTransitionTime: past},
		},
		InitContainerStatuses: []corev1.ContainerStatus{
			{
				Name: "init", Image: "init:1", ImageID: "simulated://init:1", ContainerID: "simulated://u1/init/0",
				Ready: true, Started: new(false), Resources: &corev1.ResourceRequirements{},
				State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed", StartedAt: past, FinishedAt: past}},
			},
			{
				Name: "proxy", Image: "proxy:1", ImageID: "simulated://proxy:1", ContainerID: "simulated://u1/proxy/0",
				Ready: true, Started: new(true), Resources: &corev1.ResourceRequirements{}, State: runningSince,
			},
		},
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: "web", Image: "web:1", ImageID: "simulated://web:1", ContainerID: "simulated://u1/web/0",
			Ready: true, Started: new(true), Resources: &corev1.ResourceRequirements{}, State: runningSince,
		}},
	}
	if diff := cmp.Diff(want, status); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

func TestAChangedImageRestartsItsContainerOnly(t *testing.T) {
	t.Parallel()
	pod := web(func(pod *corev1.Pod) {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: "other", Image: "other:1"})
	}, started)
	pod.Generation = 2
	pod.Spec.Containers[0].Image = "web:2"
	status := running(pod, nil, nil, later)

	require.Equal(t, int64(2), status.ObservedGeneration)
	changed, other := status.ContainerStatuses[0], status.ContainerStatuses[1]
	require.Equal(t, int32(1), changed.RestartCount)
	require.Equal(t, later, changed.State.Running.StartedAt)
	require.Equal(t, past, changed.LastTerminationState.Terminated.StartedAt)
	require.Equal(t, int32(0), other.RestartCount)
	require.Equal(t, past, other.State.Running.StartedAt)
	require.Equal(t, past, status.Conditions[3].LastTransitionTime, "still ready since then")
}

func TestFinished(t *testing.T) {
	t.Parallel()
	pod := web(started)
	for code, want := range map[int32]corev1.PodPhase{0: corev1.PodSucceeded, 3: corev1.PodFailed} {
		status := finished(pod, code, later)
		require.Equal(t, want, status.Phase)
		require.Equal(t, code, status.ContainerStatuses[0].State.Terminated.ExitCode)
		require.False(t, status.ContainerStatuses[0].Ready)
		require.Zero(t, status.InitContainerStatuses[0].State.Terminated.ExitCode, "it had ended before")
	}
	require.NotNil(t, pod.Status.ContainerStatuses[0].State.Running, "the argument is left alone")
}

func TestStatusesAreValidPatches(t *testing.T) {
	t.Parallel()
	var object map[string]any
	text, err := json.Marshal(web(started))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &object))
	for name, function := range stageFunctions() {
		var out string
		switch function := function.(type) {
		case func(any) (string, error):
			out, err = function(object)
		case func(any, ...*addresses) (string, error):
			out, err = function(object)
		case func(string) *addresses, func(string, []string, []string) *addresses:
			continue
		default:
			t.Fatalf("%s: unknown signature %T", name, function)
		}
		require.NoError(t, err, name)
		var patch struct{ Metadata, Status map[string]any }
		require.NoError(t, json.Unmarshal([]byte(out), &patch), name)
		require.NotEmpty(t, patch.Status, name)
	}
}
