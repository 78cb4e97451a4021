package fleet

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/pkg/deploy"
)

// AwaitOptions say which tenant to wait for.
type AwaitOptions struct {
	Tenant, Namespace string
	// Timeout bounds the whole; 0 is DefaultTimeout.
	Timeout time.Duration
	// Progress is told what happens, if set.
	Progress func(Step)
}

// Await waits until a tenant that is there is usable, and returns its kubeconfig. It changes nothing. The error is a
// *NotFoundError if there is none.
func (f *Fleet) Await(ctx context.Context, o AwaitOptions) ([]byte, error) {
	ctx, cancel := bounded(ctx, o.Timeout)
	defer cancel()
	set, err := f.host.AppsV1().StatefulSets(o.Namespace).Get(ctx, o.Tenant, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && set.Labels[deploy.ControlPlaneLabel] != o.Tenant {
		return nil, &NotFoundError{Tenant: o.Tenant, Namespace: o.Namespace}
	}
	if err != nil {
		return nil, f.failed(fmt.Sprintf("look for tenant %q in namespace %q", o.Tenant, o.Namespace), err)
	}
	return f.awaitUsable(ctx, names(o.Tenant, o.Namespace), set, begin(o.Progress))
}

// AwaitGone waits until nothing is left of a tenant whose deletion is on its way.
func (f *Fleet) AwaitGone(ctx context.Context, tenant, namespace string, tell func(Step)) error {
	n, p := names(tenant, namespace), begin(tell)
	if err := f.awaitGone(ctx, n, p); err != nil {
		return err
	}
	p.step("%s is gone", tenant)
	return nil
}

// Run says whether a tenant is there, wholly or in part, and which `nestling run` it belongs to; "" is none.
func (f *Fleet) Run(ctx context.Context, tenant, namespace string) (run string, exists bool, err error) {
	n := names(tenant, namespace)
	what := fmt.Sprintf("look for tenant %q in namespace %q", tenant, namespace)
	anchor, err := f.host.CoreV1().ConfigMaps(namespace).Get(ctx, n.Anchor(), metav1.GetOptions{})
	switch {
	case err == nil:
		return anchor.Annotations[deploy.RunAnnotation], true, nil
	case !apierrors.IsNotFound(err):
		return "", false, f.failed(what, err)
	}
	_, err = f.host.AppsV1().StatefulSets(namespace).Get(ctx, tenant, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", false, nil
	}
	return "", err == nil, f.failed(what, err)
}
