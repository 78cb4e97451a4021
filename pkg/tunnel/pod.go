package tunnel

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// ControlPlane finds the pod of a tenant's control plane by its label: of several the one that serves, as far as the
// host knows.
func ControlPlane(host kubernetes.Interface, namespace, label, tenant string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		pods, err := host.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: label + "=" + tenant})
		if err != nil {
			return "", fmt.Errorf("find the control plane of tenant %q in namespace %q: %w", tenant, namespace, err)
		}
		best := -1
		for i := range pods.Items {
			if pods.Items[i].Status.Phase == corev1.PodRunning && (best < 0 || better(&pods.Items[i], &pods.Items[best])) {
				best = i
			}
		}
		if best < 0 {
			return "", fmt.Errorf("tenant %q in namespace %q has no running control plane: %s", tenant, namespace, states(pods.Items))
		}
		return pods.Items[best].Name, nil
	}
}

// better prefers pods that stay to those that go, then those that are ready, then the youngest.
func better(a, b *corev1.Pod) bool {
	if stays := a.DeletionTimestamp == nil; stays != (b.DeletionTimestamp == nil) {
		return stays
	}
	if ready(a) != ready(b) {
		return ready(a)
	}
	return b.CreationTimestamp.Before(&a.CreationTimestamp)
}

func ready(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// states says what became of pods that do not run.
func states(pods []corev1.Pod) string {
	if len(pods) == 0 {
		return "there is no pod"
	}
	var out []string
	for i := range pods {
		said := "pod " + pods[i].Name + " is " + string(pods[i].Status.Phase)
		for _, status := range pods[i].Status.ContainerStatuses {
			if waiting := status.State.Waiting; waiting != nil {
				said += ", " + waiting.Reason
			}
		}
		out = append(out, said)
	}
	return strings.Join(out, "; ")
}
