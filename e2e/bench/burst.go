package bench

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// creators is how many requests of a burst are in flight at once.
const creators = 32

// burst creates n pods at once and waits until all are Running, then deletes them
// without grace at once and waits until none is left. It returns both times.
func burst(ctx context.Context, client kubernetes.Interface, namespace string, n int) (running, gone time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	seen := make(map[string]bool, n)
	allRunning, allGone := make(chan struct{}), make(chan struct{})
	lw := &cache.ListWatch{
		ListWithContextFunc: nil,
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return client.CoreV1().Pods(namespace).Watch(ctx, options)
		},
	}
	list, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return 0, 0, err
	}
	if len(list.Items) > 0 {
		return 0, 0, fmt.Errorf("namespace %s has pods already", namespace)
	}
	watcher, err := watchtools.NewRetryWatcherWithContext(ctx, list.ResourceVersion, lw)
	if err != nil {
		return 0, 0, err
	}
	defer watcher.Stop()
	go func() {
		for event := range watcher.ResultChan() {
			pod, ok := event.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			switch {
			case event.Type == watch.Deleted:
				if delete(seen, pod.Name); len(seen) == 0 {
					close(allGone)
					return
				}
			case pod.Status.Phase == corev1.PodRunning && !seen[pod.Name]:
				if seen[pod.Name] = true; len(seen) == n {
					close(allRunning)
				}
			}
		}
	}()

	start := time.Now()
	if err := each(n, func(i int) error {
		_, err := client.CoreV1().Pods(namespace).Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("burst-%03d", i)},
			Spec: corev1.PodSpec{
				Containers:                    []corev1.Container{{Name: "c", Image: "registry.k8s.io/pause:3.10"}},
				TerminationGracePeriodSeconds: new(int64(1)),
			},
		}, metav1.CreateOptions{})
		return err
	}); err != nil {
		return 0, 0, err
	}
	if err := await(ctx, allRunning); err != nil {
		return 0, 0, fmt.Errorf("until all are Running: %w", err)
	}
	running = time.Since(start)

	start = time.Now()
	if err := each(n, func(i int) error {
		return client.CoreV1().Pods(namespace).Delete(ctx, fmt.Sprintf("burst-%03d", i), metav1.DeleteOptions{})
	}); err != nil {
		return 0, 0, err
	}
	if err := await(ctx, allGone); err != nil {
		return 0, 0, fmt.Errorf("until all are gone: %w", err)
	}
	return running, time.Since(start), nil
}

func await(ctx context.Context, event <-chan struct{}) error {
	select {
	case <-event:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// each calls do for 0…n-1, creators at a time, and returns the first error.
func each(n int, do func(i int) error) error {
	var group sync.WaitGroup
	next := make(chan int)
	errs := make(chan error, creators)
	for range creators {
		group.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					select {
					case errs <- err:
					default:
					}
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}
