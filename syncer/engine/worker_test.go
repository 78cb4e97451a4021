package engine

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestWhatIsToldInANamespaceThatEndsIsDropped(t *testing.T) {
	t.Parallel()
	events := corev1.Resource("events")
	terminating := apierrors.NewForbidden(events, "web.1", errors.New("the namespace is being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"a namespace that ends":    {terminating, true},
		"a namespace that is gone": {apierrors.NewNotFound(corev1.Resource("namespaces"), "web"), true},
		"a wrapped one":            {fmt.Errorf("create: %w", terminating), true},
		"missing rights":           {apierrors.NewForbidden(events, "web.1", errors.New("no")), false},
		"a server that is busy":    {apierrors.NewTooManyRequests("later", 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, namespaceEnds(test.err))
		})
	}
}
