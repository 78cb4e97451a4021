package fleet

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/syncer/resource"
)

// PauseOptions say what to stop.
type PauseOptions struct {
	Tenant, Namespace string
	// KeepPods leaves the tenant's pods running on the host.
	KeepPods bool
	// Force pauses an ephemeral tenant, which loses all that it has.
	Force bool
	// Timeout bounds the whole; 0 is DefaultTimeout.
	Timeout time.Duration
	// Progress is told what happens, if set.
	Progress func(Step)
}

// Pause stops a tenant's control plane and then, in order that nobody replaces them, its pods. What it has stays.
func (f *Fleet) Pause(ctx context.Context, o PauseOptions) error {
	ctx, cancel := bounded(ctx, o.Timeout)
	defer cancel()
	p := begin(o.Progress)
	n := names(o.Tenant, o.Namespace)
	set, err := f.set(ctx, n)
	if err != nil {
		return err
	}
	if set == nil {
		return f.absent(ctx, n, nil)
	}
	if len(set.Spec.VolumeClaimTemplates) == 0 && !o.Force {
		return fmt.Errorf("tenant %q is ephemeral: paused, it loses everything that it has; --force does so nevertheless", n.Tenant)
	}
	if set.Spec.Replicas == nil || *set.Spec.Replicas != 0 {
		if err := f.patchSet(ctx, n, map[string]any{"spec": map[string]any{"replicas": 0}}); err != nil {
			return err
		}
		p.step("stopping the control plane of %s", n.Tenant)
	}
	if err := f.awaitStopped(ctx, n, deploy.ControlPlaneLabel); err != nil {
		return err
	}
	if !o.KeepPods {
		count, err := f.stopPods(ctx, n)
		if err != nil {
			return err
		}
		if count > 0 {
			p.step("stopping its %d pods", count)
		}
		if err := f.awaitStopped(ctx, n, resource.LabelTenant); err != nil {
			return err
		}
	}
	p.step("%s is paused", n.Tenant)
	return nil
}

// stopPods deletes the tenant's pods on the host.
func (f *Fleet) stopPods(ctx context.Context, n deploy.Names) (int, error) {
	selected := metav1.ListOptions{LabelSelector: resource.LabelTenant + "=" + n.Tenant}
	pods, err := f.host.CoreV1().Pods(n.Namespace).List(ctx, selected)
	if err != nil {
		return 0, f.failed(fmt.Sprintf("list pods in namespace %q", n.Namespace), err)
	}
	var tasks []func() error
	for _, pod := range pods.Items {
		tasks = append(tasks, func() error {
			err := f.host.CoreV1().Pods(n.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &pod.UID}})
			return f.unlessAbsent(fmt.Sprintf("delete pod %q in namespace %q", pod.Name, n.Namespace), err)
		})
	}
	return len(tasks), concurrently(tasks...)
}

// ResumeOptions say what to start again.
type ResumeOptions struct {
	Tenant, Namespace string
	// NoWait returns at once.
	NoWait bool
	// Timeout bounds the whole; 0 is DefaultTimeout.
	Timeout time.Duration
	// Progress is told what happens, if set.
	Progress func(Step)
}

// Resume starts a paused tenant, and waits until it is usable. One whose time is over meanwhile removes itself.
func (f *Fleet) Resume(ctx context.Context, o ResumeOptions) error {
	ctx, cancel := bounded(ctx, o.Timeout)
	defer cancel()
	p := begin(o.Progress)
	n := names(o.Tenant, o.Namespace)
	v, err := f.look(ctx, n)
	if err != nil {
		return err
	}
	switch {
	case v.set == nil:
		return f.absent(ctx, n, nil)
	case v.anchor == nil:
		return diagnose(v).failure(n)
	}
	if v.set.Spec.Replicas != nil && *v.set.Spec.Replicas == 0 {
		if err := f.patchSet(ctx, n, map[string]any{"spec": map[string]any{"replicas": 1}}); err != nil {
			return err
		}
		p.step("starting the control plane of %s", n.Tenant)
	}
	if o.NoWait {
		return nil
	}
	if at, err := time.Parse(time.RFC3339, v.anchor.Annotations[deploy.ExpiresAtAnnotation]); err == nil && at.Before(time.Now()) {
		p.warn("its time was over at %s: it removes itself", at.Format(time.RFC3339))
		if err := f.awaitGone(ctx, n, p); err != nil {
			return err
		}
		return fmt.Errorf("tenant %q in namespace %q has removed itself: its time was over at %s", n.Tenant, n.Namespace, at.Format(time.RFC3339))
	}
	set, err := f.set(ctx, n)
	if err != nil {
		return err
	}
	if set == nil {
		return f.absent(ctx, n, nil)
	}
	_, err = f.awaitUsable(ctx, n, set, p)
	return err
}
