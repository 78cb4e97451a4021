package fleet

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/pkg/deploy"
)

// healthy is a control plane with which nothing is wrong.
func healthy() view {
	return view{
		names:  names("a", "tenants"),
		anchor: &corev1.ConfigMap{},
		set: &appsv1.StatefulSet{
			ObjectMeta: metav1.ObjectMeta{Generation: 2},
			Spec:       appsv1.StatefulSetSpec{Replicas: new(int32(1))},
			Status:     appsv1.StatefulSetStatus{ObservedGeneration: 2, UpdateRevision: "a-2"},
		},
		pod: &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "a-0", Labels: map[string]string{appsv1.ControllerRevisionHashLabelKey: "a-2"}},
			Spec:       corev1.PodSpec{NodeName: "node-1"},
			Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
				ContainerStatuses: []corev1.ContainerStatus{{Image: "nestling:v1", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}},
		},
		kubeconfig: []byte("x"),
	}
}

func TestDiagnose(t *testing.T) {
	t.Parallel()
	waiting := func(v *view, reason, message string) *corev1.ContainerStatus {
		v.pod.Status.Conditions = nil
		status := &v.pod.Status.ContainerStatuses[0]
		status.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
		return status
	}
	event := func(kind, reason, message string) corev1.Event {
		return corev1.Event{InvolvedObject: corev1.ObjectReference{Kind: kind}, Reason: reason, Message: message, LastTimestamp: metav1.Now()}
	}
	for name, test := range map[string]struct {
		change   func(*view)
		state    State
		text     string
		advice   string
		hopeless bool
	}{
		"well":               {func(*view) {}, Ready, "ready", "", false},
		"without kubeconfig": {func(v *view) { v.kubeconfig = nil }, Starting, "pod a-0 is ready; its kubeconfig is on its way", "", false},
		"being rolled": {func(v *view) { v.set.Status.UpdateRevision = "a-3" }, Starting,
			"pod a-0 is replaced by one of the new version", "", false},
		"changed a moment ago": {func(v *view) { v.set.Generation = 3 }, Starting,
			"pod a-0 is replaced by one of the new version", "", false},
		"just applied":          {func(v *view) { v.pod = nil }, Starting, "waiting for the pod", "", false},
		"the old pod is ending": {func(v *view) { v.pod.DeletionTimestamp = &metav1.Time{Time: time.Now()} }, Starting, "waiting for the end of the old pod a-0", "", false},
		"on a node":             {func(v *view) { v.pod.Status = corev1.PodStatus{} }, Starting, "pod a-0 is placed on node node-1", "", false},
		"running":               {func(v *view) { v.pod.Status.Conditions = nil }, Starting, "the control plane starts on node node-1", "", false},
		"paused":                {func(v *view) { v.set.Spec.Replicas = new(int32(0)) }, Paused, "paused", "nestling resume a", true},
		"being deleted":         {func(v *view) { v.anchor.DeletionTimestamp = &metav1.Time{Time: time.Now()} }, Terminating, "the tenant is being removed", "", true},
		"over": {func(v *view) { v.anchor.Annotations = map[string]string{deploy.ExpiredAnnotation: "now"} }, Terminating,
			"the tenant is being removed", "", true},
		"without its anchor":      {func(v *view) { v.anchor = nil }, Incomplete, "the anchor is missing", "run nestling create again", true},
		"without its StatefulSet": {func(v *view) { v.set = nil }, Incomplete, "the StatefulSet is missing", "run nestling create again", true},
		"rejected by a quota": {func(v *view) {
			v.pod = nil
			v.events = []corev1.Event{event("StatefulSet", "FailedCreate", `create Pod a-0 in StatefulSet a failed error: pods "a-0" is forbidden: exceeded quota: few`)}
		}, Failing, `the host rejects the pod: pods "a-0" is forbidden: exceeded quota: few`,
			"raise the quota, free some of it, or lower what the control plane requests", true},
		"an image that is not there": {func(v *view) {
			waiting(v, "ErrImagePull", `failed to pull "nestling:v1": not found`)
		}, Failing, `image nestling:v1: ErrImagePull: failed to pull "nestling:v1": not found`, "give the node the image, or choose another by --image", true},
		"an image that is asked for again later": {func(v *view) {
			waiting(v, "ImagePullBackOff", "Back-off pulling image")
			v.events = []corev1.Event{event("Pod", "Failed", `Failed to pull image "nestling:v1": not found`)}
		}, Failing, `image nestling:v1: ImagePullBackOff: Failed to pull image "nestling:v1": not found`, "give the node the image, or choose another by --image", true},
		"a process that ends again and again": {func(v *view) {
			waiting(v, "CrashLoopBackOff", "back-off 10s").LastTerminationState.Terminated = &corev1.ContainerStateTerminated{
				ExitCode: 1, Reason: "Error", Message: "I0127 a log\nnestling: host: ServiceAccount \"a\" may not get pods\n"}
		}, Failing, `the control plane ends again and again: nestling: host: ServiceAccount "a" may not get pods`, "kubectl -n tenants logs a-0 --previous", true},
		"a container that the node's runtime did not start": {func(v *view) {
			waiting(v, "RunContainerError", "failed to create shim task")
		}, Failing, "RunContainerError: failed to create shim task", "", false},
		"one that waits for its next start after that": {func(v *view) {
			status := waiting(v, "CrashLoopBackOff", "back-off 10s")
			status.RestartCount = 1
			status.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 128, Reason: "StartError", Message: "failed to create shim task"}
		}, Failing, "the node did not start the container: failed to create shim task", "", false},
		"one that it does not start again and again": {func(v *view) {
			waiting(v, "RunContainerError", "exec: no such file").RestartCount = 2
		}, Failing, "RunContainerError: exec: no such file", "", true},
		"and waits for the next time": {func(v *view) {
			status := waiting(v, "CrashLoopBackOff", "back-off 20s")
			status.RestartCount = 2
			status.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 128, Reason: "StartError", Message: "exec: no such file"}
		}, Failing, "the control plane ends again and again: exec: no such file", "kubectl -n tenants logs a-0 --previous", true},
		"a container that could not be made": {func(v *view) {
			waiting(v, "CreateContainerError", "name is reserved")
		}, Failing, "CreateContainerError: name is reserved", "", false},
		"a Secret that is not there": {func(v *view) {
			waiting(v, "CreateContainerConfigError", `secret "x" not found`)
		}, Failing, `CreateContainerConfigError: secret "x" not found`, "", true},
		"a Secret that the kubelet has yet to hear about": {func(v *view) {
			waiting(v, "CreateContainerConfigError", "failed to sync secret cache: timed out waiting for the condition")
		}, Failing, "CreateContainerConfigError: failed to sync secret cache: timed out waiting for the condition", "", false},
		"a process that has ended once": {func(v *view) {
			v.pod.Status.Conditions = nil
			status := &v.pod.Status.ContainerStatuses[0]
			status.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
			status.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"}
		}, Starting, "the control plane has ended, and starts again: OOMKilled, exit code 137", "", false},
		"no node": {func(v *view) {
			v.pod.Spec.NodeName, v.pod.Status = "", corev1.PodStatus{Conditions: []corev1.PodCondition{{
				Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/1 nodes are available: 1 Insufficient memory."}}}
		}, Starting, "pod a-0 is Unschedulable: 0/1 nodes are available: 1 Insufficient memory.", "", false},
		"no volume": {func(v *view) {
			v.pod.Spec.NodeName, v.pod.Status = "", corev1.PodStatus{Conditions: []corev1.PodCondition{{
				Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "pod has unbound immediate PersistentVolumeClaims"}}}
		}, Starting, "pod a-0 is Unschedulable: pod has unbound immediate PersistentVolumeClaims",
			"the host has no volume for it: choose a class by --storage-class, or do without by --ephemeral", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := healthy()
			test.change(&v)
			require.Equal(t, finding{state: test.state, text: test.text, advice: test.advice, hopeless: test.hopeless}, diagnose(v))
		})
	}
}

func TestVersionOfAnImage(t *testing.T) {
	t.Parallel()
	for image, want := range map[string]string{
		"nestling.dev/nestling:v1":         "v1",
		"example.org:5000/nestling":        "latest",
		"example.org:5000/nestling:v1":     "v1",
		"example.org/nestling@sha256:abcd": "sha256:abcd",
	} {
		require.Equal(t, want, Tenant{Image: image}.Version())
	}
}
