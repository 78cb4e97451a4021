package stories

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// namespaceNamed is like namespace, for stories in which the name matters.
func namespaceNamed(t *testing.T, tenant *Tenant, name string) {
	t.Helper()
	_, err := tenant.Client.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	require.NoError(t, err, "create namespace %s in tenant %s", name, tenant.Name)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = tenant.Client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})
	})
	eventually(t, "the default ServiceAccount of "+name, func(ctx context.Context) (bool, string) {
		_, err := tenant.Client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, errText(err)
	})
}
