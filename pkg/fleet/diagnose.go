package fleet

import (
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"nestling.dev/nestling/pkg/deploy"
)

// State is what a tenant is doing, in one word.
type State string

// States of a tenant.
const (
	// Ready is a tenant whose API answers and takes pods.
	Ready State = "Ready"
	// Starting is one whose pod is on its way.
	Starting State = "Starting"
	// Failing is one that does not start by itself.
	Failing State = "Failing"
	// Paused is one that was scaled to no pod.
	Paused State = "Paused"
	// Terminating is one that is being removed.
	Terminating State = "Terminating"
	// Incomplete is one whose manifests were applied in part.
	Incomplete State = "Incomplete"
)

// view is what is known of a tenant's control plane at one moment.
type view struct {
	names      deploy.Names
	anchor     *corev1.ConfigMap
	set        *appsv1.StatefulSet
	pod        *corev1.Pod
	events     []corev1.Event // about the StatefulSet and its pod
	kubeconfig []byte
}

// finding is what a view means.
type finding struct {
	state State
	// text says where the start has got to, or what is wrong, in the host's own words.
	text string
	// hopeless says that waiting does not help.
	hopeless bool
	// advice is what to do about it.
	advice string
}

// diagnose looks at a control plane.
func diagnose(v view) finding {
	switch {
	case v.anchor != nil && (v.anchor.DeletionTimestamp != nil || v.anchor.Annotations[deploy.ExpiredAnnotation] != ""),
		v.set != nil && v.set.DeletionTimestamp != nil:
		return finding{state: Terminating, text: "the tenant is being removed", hopeless: true}
	case v.set == nil:
		return finding{state: Incomplete, text: "the StatefulSet is missing", hopeless: true, advice: "run nestling create again"}
	case v.anchor == nil:
		return finding{state: Incomplete, text: "the anchor is missing", hopeless: true, advice: "run nestling create again"}
	case v.set.Spec.Replicas != nil && *v.set.Spec.Replicas == 0:
		return finding{state: Paused, text: "paused", hopeless: true, advice: "nestling resume " + v.names.Tenant}
	case v.pod == nil || v.pod.DeletionTimestamp != nil:
		return noPod(v)
	}
	if problem, ok := containerProblem(v); ok {
		return problem
	}
	if problem, ok := unscheduled(v.pod); ok {
		return problem
	}
	if condition(v.pod, corev1.PodReady) {
		if outdated(v) {
			return finding{state: Starting, text: fmt.Sprintf("pod %s is replaced by one of the new version", v.pod.Name)}
		}
		if len(v.kubeconfig) == 0 {
			return finding{state: Starting, text: "pod " + v.pod.Name + " is ready; its kubeconfig is on its way"}
		}
		return finding{state: Ready, text: "ready"}
	}
	return finding{state: Starting, text: stage(v.pod)}
}

// noPod says why there is none.
func noPod(v view) finding {
	if event, ok := newest(v.events, "StatefulSet", "FailedCreate"); ok {
		return finding{state: Failing, text: rejection(event.Message), hopeless: true, advice: refusalAdvice(event.Message)}
	}
	if v.pod != nil {
		return finding{state: Starting, text: fmt.Sprintf("waiting for the end of the old pod %s", v.pod.Name)}
	}
	return finding{state: Starting, text: "waiting for the pod"}
}

// rejection cuts what the StatefulSet controller says before the reason.
func rejection(message string) string {
	if _, reason, ok := strings.Cut(message, " failed error: "); ok {
		return "the host rejects the pod: " + strings.TrimSpace(reason)
	}
	return "the host rejects the pod: " + message
}

func refusalAdvice(message string) string {
	switch {
	case strings.Contains(message, "exceeded quota"):
		return "raise the quota, free some of it, or lower what the control plane requests"
	case strings.Contains(message, "PodSecurity"):
		return "the pod needs no more than the restricted profile: something on the host changes it, or the profile is a custom one"
	}
	return ""
}

// containerProblem is what the kubelet says about the one container.
func containerProblem(v view) (finding, bool) {
	if v.pod.Status.Phase == corev1.PodFailed {
		return finding{state: Failing, text: fmt.Sprintf("pod %s failed: %s %s", v.pod.Name, v.pod.Status.Reason, v.pod.Status.Message)}, true
	}
	for _, status := range v.pod.Status.ContainerStatuses {
		waiting := status.State.Waiting
		if waiting == nil {
			continue
		}
		switch waiting.Reason {
		case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError", "RegistryUnavailable":
			text := waiting.Message
			if event, ok := newest(v.events, "Pod", "Failed"); ok && waiting.Reason == "ImagePullBackOff" && strings.Contains(event.Message, "pull image") {
				text = event.Message // the reason; the back-off says only that there was one
			}
			return finding{state: Failing, text: fmt.Sprintf("image %s: %s: %s", status.Image, waiting.Reason, text), hopeless: true,
				advice: "give the node the image, or choose another by --image"}, true
		case "CrashLoopBackOff":
			if passes(status) {
				return finding{state: Failing, text: "the node did not start the container: " + lastWords(status)}, true
			}
			return finding{state: Failing, text: "the control plane ends again and again: " + lastWords(status), hopeless: true,
				advice: fmt.Sprintf("kubectl -n %s logs %s --previous", v.names.Namespace, v.pod.Name)}, true
		case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
			return finding{state: Failing, text: waiting.Reason + ": " + waiting.Message, hopeless: !passes(status)}, true
		}
	}
	return finding{}, false
}

const (
	// startError is why a container has ended that the runtime did not start, in containerd's
	// word (internal/cri/server/container_start.go).
	startError = "StartError"
	// hopelessStarts are so many that it is not the node's bad moment.
	hopelessStarts = 2
)

// passes reports whether what kept a container from its start may be gone when the kubelet
// tries it again, as it always does: a sandbox that had ended, a name that is still taken, a
// Secret that the kubelet has not heard about.
func passes(status corev1.ContainerStatus) bool {
	switch status.State.Waiting.Reason {
	case "CreateContainerConfigError":
		return strings.HasPrefix(status.State.Waiting.Message, "failed to sync ")
	case "RunContainerError":
		return status.RestartCount < hopelessStarts
	case "CrashLoopBackOff":
		ended := status.LastTerminationState.Terminated
		return ended != nil && ended.Reason == startError && status.RestartCount < hopelessStarts
	}
	return true
}

// lastWords are what the process said at its end.
func lastWords(status corev1.ContainerStatus) string {
	ended := status.LastTerminationState.Terminated
	if ended == nil {
		return "CrashLoopBackOff"
	}
	lines := strings.Split(strings.TrimSpace(ended.Message), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return last
	}
	return fmt.Sprintf("%s, exit code %d", ended.Reason, ended.ExitCode)
}

// unscheduled is a pod for which there is no node: one may come, so it is told and waited for.
func unscheduled(pod *corev1.Pod) (finding, bool) {
	for _, condition := range pod.Status.Conditions {
		if condition.Type != corev1.PodScheduled || condition.Reason != corev1.PodReasonUnschedulable { // others, such as a conflict, pass
			continue
		}
		out := finding{state: Starting, text: fmt.Sprintf("pod %s is %s: %s", pod.Name, condition.Reason, condition.Message)}
		if strings.Contains(condition.Message, "PersistentVolumeClaim") {
			out.advice = "the host has no volume for it: choose a class by --storage-class, or do without by --ephemeral"
		}
		return out, true
	}
	return finding{}, false
}

// outdated says that the StatefulSet is about to replace the pod.
func outdated(v view) bool {
	if v.set.Status.ObservedGeneration < v.set.Generation {
		return true
	}
	update := v.set.Status.UpdateRevision
	return update != "" && v.pod.Labels[appsv1.ControllerRevisionHashLabelKey] != update
}

// stage is how far the start of a pod has got.
func stage(pod *corev1.Pod) string {
	for _, status := range pod.Status.ContainerStatuses {
		if status.State.Running != nil {
			return fmt.Sprintf("the control plane starts on node %s", pod.Spec.NodeName)
		}
		if status.LastTerminationState.Terminated != nil {
			return "the control plane has ended, and starts again: " + lastWords(status)
		}
	}
	if pod.Spec.NodeName != "" {
		return fmt.Sprintf("pod %s is placed on node %s", pod.Name, pod.Spec.NodeName)
	}
	return fmt.Sprintf("pod %s is created", pod.Name)
}

func condition(pod *corev1.Pod, kind corev1.PodConditionType) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == kind && c.Status == corev1.ConditionTrue
	})
}

// newest is the latest event of a reason about a kind.
func newest(events []corev1.Event, kind, reason string) (corev1.Event, bool) {
	var out corev1.Event
	ok := false
	for _, event := range events {
		if event.InvolvedObject.Kind == kind && event.Reason == reason && (!ok || when(event).After(when(out))) {
			out, ok = event, true
		}
	}
	return out, ok
}

// when an event happened last.
func when(event corev1.Event) time.Time {
	switch {
	case event.Series != nil:
		return event.Series.LastObservedTime.Time
	case !event.LastTimestamp.IsZero():
		return event.LastTimestamp.Time
	case !event.EventTime.IsZero():
		return event.EventTime.Time
	}
	return event.CreationTimestamp.Time
}
