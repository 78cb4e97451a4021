package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
)

// kill ends a tenant's process, and waits until kubelet has started it again.
func (i *installer) kill(ctx context.Context, name string) error {
	container, err := i.container(ctx, name)
	if err != nil {
		return err
	}
	pid, err := pidOf(container)
	if err != nil {
		return err
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		return fmt.Errorf("kill process %d of tenant %s: %w", pid, name, err)
	}
	return wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		next, err := i.container(ctx, name)
		return err == nil && next != container, nil
	})
}

// container is the id of the container that runs a tenant.
func (i *installer) container(ctx context.Context, name string) (string, error) {
	pod, err := i.client.CoreV1().Pods(hostNamespace).Get(ctx, name+"-0", metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	for _, status := range pod.Status.ContainerStatuses {
		if status.State.Running != nil {
			_, id, _ := strings.Cut(status.ContainerID, "://")
			return id, nil
		}
	}
	return "", fmt.Errorf("pod %s does not run", pod.Name)
}

// pidOf is the one process of a container. Its cgroup tells: that is named after the
// container.
func pidOf(container string) (int, error) {
	if container == "" {
		return 0, fmt.Errorf("no container")
	}
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return 0, err
	}
	var found []int
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), container) {
			continue // ended meanwhile, or somebody else's
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return 0, err
		}
		found = append(found, pid)
	}
	if len(found) != 1 {
		return 0, fmt.Errorf("container %s has the processes %v, want one", container, found)
	}
	return found[0], nil
}

// restart deletes the pod, as a rollout does; its StatefulSet makes the next. The
// process must have ended by itself: with code 0, and before kubelet lost patience.
func (i *installer) restart(ctx context.Context, name string) (time.Duration, error) {
	pods := i.client.CoreV1().Pods(hostNamespace)
	pod, err := pods.Get(ctx, name+"-0", metav1.GetOptions{})
	if err != nil {
		return 0, err
	}
	watched, err := pods.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + pod.Name, ResourceVersion: pod.ResourceVersion})
	if err != nil {
		return 0, err
	}
	defer watched.Stop()
	begin := time.Now()
	if err := pods.Delete(ctx, pod.Name, metav1.DeleteOptions{}); err != nil {
		return 0, err
	}
	var stopped time.Duration
	for event := range watched.ResultChan() {
		seen, ok := event.Object.(*corev1.Pod)
		if !ok || seen.UID != pod.UID {
			break
		}
		for _, status := range seen.Status.ContainerStatuses {
			if ended := status.State.Terminated; ended != nil && stopped == 0 {
				stopped = time.Since(begin)
				if ended.ExitCode != 0 {
					return stopped, fmt.Errorf("the process of %s ended with code %d (%s)", name, ended.ExitCode, ended.Reason)
				}
			}
		}
		if event.Type == watch.Deleted {
			break
		}
	}
	if stopped == 0 {
		return 0, fmt.Errorf("nobody saw how the process of %s ended", name)
	}
	return stopped, i.returned(ctx, pod.Name, pod.UID)
}

// returned waits for the successor of a pod.
func (i *installer) returned(ctx context.Context, name string, before types.UID) error {
	return wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		pod, err := i.client.CoreV1().Pods(hostNamespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && pod.UID == before {
			return false, nil
		}
		return err == nil && pod.Status.Phase == corev1.PodRunning, err
	})
}
