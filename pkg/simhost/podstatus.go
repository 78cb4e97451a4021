package simhost

import (
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// running is the status of a pod whose containers run and are ready. It serves
// the first start as well as later changes: containers whose image has changed
// restart, new ephemeral containers and resources show.
func running(pod *corev1.Pod, hostIPs, podIPs []string, now metav1.Time) corev1.PodStatus {
	status := corev1.PodStatus{
		ObservedGeneration: pod.Generation,
		Phase:              corev1.PodRunning,
		StartTime:          pod.Status.StartTime,
		HostIP:             first(hostIPs),
		PodIP:              first(podIPs),
	}
	if status.StartTime == nil {
		status.StartTime = &now
	}
	for _, ip := range hostIPs {
		status.HostIPs = append(status.HostIPs, corev1.HostIP{IP: ip})
	}
	for _, ip := range podIPs {
		status.PodIPs = append(status.PodIPs, corev1.PodIP{IP: ip})
	}
	for i := range pod.Spec.InitContainers {
		container := &pod.Spec.InitContainers[i]
		init := runningContainer(pod, container, pod.Status.InitContainerStatuses, now)
		if !restarts(container) {
			init.Started = new(false)
			init.State = terminated(init.State, 0, "Completed", now)
		}
		status.InitContainerStatuses = append(status.InitContainerStatuses, init)
	}
	for i := range pod.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses,
			runningContainer(pod, &pod.Spec.Containers[i], pod.Status.ContainerStatuses, now))
	}
	for i := range pod.Spec.EphemeralContainers {
		container := corev1.Container(pod.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		ephemeral := runningContainer(pod, &container, pod.Status.EphemeralContainerStatuses, now)
		ephemeral.Ready, ephemeral.Started = false, nil // kubelet gives them no readiness
		status.EphemeralContainerStatuses = append(status.EphemeralContainerStatuses, ephemeral)
	}
	status.Conditions = conditions(pod, now,
		condition(corev1.PodReadyToStartContainers, true, ""),
		condition(corev1.PodInitialized, true, ""),
		condition(corev1.ContainersReady, true, ""),
		condition(corev1.PodReady, gatesOpen(pod), "ReadinessGatesNotReady"),
	)
	return status
}

// finished is the status of a pod whose containers have ended by themselves.
func finished(pod *corev1.Pod, exitCode int32, now metav1.Time) corev1.PodStatus {
	phase, reason := corev1.PodSucceeded, "Completed"
	if exitCode != 0 {
		phase, reason = corev1.PodFailed, "Error"
	}
	status := corev1.PodStatus{ObservedGeneration: pod.Generation, Phase: phase}
	status.InitContainerStatuses = end(pod.Status.InitContainerStatuses, exitCode, reason, now)
	status.ContainerStatuses = end(pod.Status.ContainerStatuses, exitCode, reason, now)
	status.EphemeralContainerStatuses = end(pod.Status.EphemeralContainerStatuses, exitCode, reason, now)
	status.Conditions = conditions(pod, now,
		condition(corev1.ContainersReady, false, "Pod"+reason),
		condition(corev1.PodReady, false, "Pod"+reason),
	)
	return status
}

// sigtermExit is how a program without a handler ends on SIGTERM: 128 + 15.
const sigtermExit = 143

// runningContainer is the status of one running container, given the statuses
// of the pod's containers before.
func runningContainer(pod *corev1.Pod, container *corev1.Container, before []corev1.ContainerStatus, now metav1.Time) corev1.ContainerStatus {
	status := corev1.ContainerStatus{
		Name:      container.Name,
		Image:     container.Image,
		ImageID:   "simulated://" + container.Image,
		Ready:     true,
		Started:   new(true),
		State:     corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
		Resources: container.Resources.DeepCopy(),
	}
	if len(container.Resources.Requests) > 0 {
		status.AllocatedResources = container.Resources.Requests.DeepCopy()
	}
	for _, old := range before {
		if old.Name != container.Name {
			continue
		}
		status.RestartCount = old.RestartCount
		status.LastTerminationState = old.LastTerminationState
		switch {
		case old.State.Running == nil:
		case old.Image == container.Image:
			status.State = old.State
		default:
			status.RestartCount++
			status.LastTerminationState = terminated(old.State, sigtermExit, "Error", now)
		}
	}
	status.ContainerID = fmt.Sprintf("simulated://%s/%s/%d", pod.UID, container.Name, status.RestartCount)
	return status
}

// end ends the containers that run.
func end(statuses []corev1.ContainerStatus, exitCode int32, reason string, now metav1.Time) []corev1.ContainerStatus {
	ended := make([]corev1.ContainerStatus, len(statuses))
	for i := range statuses {
		statuses[i].DeepCopyInto(&ended[i])
		if statuses[i].State.Running == nil {
			continue
		}
		ended[i].Ready, ended[i].Started = false, new(false)
		ended[i].State = terminated(statuses[i].State, exitCode, reason, now)
		ended[i].State.Terminated.ContainerID = statuses[i].ContainerID
	}
	return ended
}

func terminated(state corev1.ContainerState, exitCode int32, reason string, now metav1.Time) corev1.ContainerState {
	started := now
	if state.Running != nil {
		started = state.Running.StartedAt
	}
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: exitCode, Reason: reason, StartedAt: started, FinishedAt: now,
	}}
}

func restarts(container *corev1.Container) bool {
	return container.RestartPolicy != nil && *container.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// gatesOpen says whether all readiness gates of the pod are true.
func gatesOpen(pod *corev1.Pod) bool {
	for _, gate := range pod.Spec.ReadinessGates {
		open := false
		for _, c := range pod.Status.Conditions {
			open = open || c.Type == gate.ConditionType && c.Status == corev1.ConditionTrue
		}
		if !open {
			return false
		}
	}
	return true
}

func condition(kind corev1.PodConditionType, holds bool, reasonIfNot string) corev1.PodCondition {
	if holds {
		return corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue}
	}
	return corev1.PodCondition{Type: kind, Status: corev1.ConditionFalse, Reason: reasonIfNot}
}

// conditions fills in times and generation. A condition that held before keeps
// its transition time.
func conditions(pod *corev1.Pod, now metav1.Time, set ...corev1.PodCondition) []corev1.PodCondition {
	for i := range set {
		set[i].ObservedGeneration = pod.Generation
		set[i].LastTransitionTime = now
		for _, old := range pod.Status.Conditions {
			if old.Type == set[i].Type && old.Status == set[i].Status {
				set[i].LastTransitionTime = old.LastTransitionTime
			}
		}
	}
	return set
}

// exitCodeOf is the exit code that the pod asks for by annotation.
func exitCodeOf(pod *corev1.Pod) int32 {
	code, err := strconv.ParseInt(pod.Annotations[ExitCodeAnnotation], 10, 32)
	if err != nil {
		return 0
	}
	return int32(code)
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}
