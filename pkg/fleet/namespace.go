package fleet

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// namespace makes sure that tenants can be made in it. It is content when we may not look: what follows will tell.
func (f *Fleet) namespace(ctx context.Context, name string, create bool, p *progress) error {
	namespace, err := f.host.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsForbidden(err):
		return nil
	case apierrors.IsNotFound(err) && create:
		made := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		_, err := f.host.CoreV1().Namespaces().Create(ctx, made, metav1.CreateOptions{FieldManager: FieldManager})
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		if err == nil {
			p.step("created namespace %s", name)
		}
		return f.failed(fmt.Sprintf("create namespace %q", name), err)
	case apierrors.IsNotFound(err):
		return fmt.Errorf("namespace %q does not exist: create it, choose another by --namespace, or give --create-namespace", name)
	case err != nil:
		return f.failed(fmt.Sprintf("read namespace %q", name), err)
	case namespace.DeletionTimestamp != nil:
		return fmt.Errorf("namespace %q is being deleted: wait until it is gone, or choose another", name)
	}
	return nil
}
