package bench

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

// ended is how long the deletion of a namespace took: until its last pod was gone, and
// until it was gone itself.
type ended struct{ pods, namespace time.Duration }

// look is how often a deletion is looked at.
const look = 50 * time.Millisecond

// namespaceDeletion makes a namespace with n running pods, which have grace seconds to
// end and need none of them, and deletes it. The hook is called between the two.
func namespaceDeletion(ctx context.Context, client kubernetes.Interface, name string, n int, grace *int64, hook func() error) (ended, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if err := fill(ctx, client, name, n, grace); err != nil {
		return ended{}, fmt.Errorf("fill namespace %s: %w", name, err)
	}
	if err := hook(); err != nil {
		return ended{}, err
	}
	start := time.Now()
	if err := client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return ended{}, err
	}
	var out ended
	err := wait.PollUntilContextCancel(ctx, look, true, func(ctx context.Context) (bool, error) {
		if out.pods == 0 {
			left, err := client.CoreV1().Pods(name).List(ctx, metav1.ListOptions{Limit: 1})
			if err == nil && len(left.Items) == 0 {
				out.pods = time.Since(start)
			}
		}
		_, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{ResourceVersion: "0"})
		return apierrors.IsNotFound(err), nil
	})
	out.namespace = time.Since(start)
	if err != nil {
		return ended{}, fmt.Errorf("until namespace %s is gone: %w", name, err)
	}
	return out, nil
}

func fill(ctx context.Context, client kubernetes.Interface, name string, n int, grace *int64) error {
	_, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if err := wait.PollUntilContextCancel(ctx, look, true, func(ctx context.Context) (bool, error) {
		_, err := client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, nil
	}); err != nil {
		return fmt.Errorf("its default ServiceAccount: %w", err)
	}
	if err := each(n, func(i int) error {
		_, err := client.CoreV1().Pods(name).Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("pod-%03d", i)},
			Spec: corev1.PodSpec{
				Containers:                    []corev1.Container{{Name: "c", Image: "registry.k8s.io/pause:3.10"}},
				TerminationGracePeriodSeconds: grace,
			},
		}, metav1.CreateOptions{})
		return err
	}); err != nil {
		return err
	}
	return wait.PollUntilContextCancel(ctx, 10*look, true, func(ctx context.Context) (bool, error) {
		list, err := client.CoreV1().Pods(name).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return false, nil
		}
		running := 0
		for _, pod := range list.Items {
			if pod.Status.Phase == corev1.PodRunning {
				running++
			}
		}
		return running == n, nil
	})
}
