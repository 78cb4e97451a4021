package controlplanetest_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"nestling.dev/nestling/pkg/controlplane/controlplanetest"
)

func TestTwoServersInOneProcessDoNotMeet(t *testing.T) {
	one := controlplanetest.Start(t, controlplanetest.Options{})
	two := controlplanetest.Start(t, controlplanetest.Options{})
	oneClient, err := kubernetes.NewForConfig(one.Config)
	require.NoError(t, err)
	twoClient, err := kubernetes.NewForConfig(two.Config)
	require.NoError(t, err)

	_, err = oneClient.CoreV1().ConfigMaps("default").Create(t.Context(),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = twoClient.CoreV1().ConfigMaps("default").Get(t.Context(), "mine", metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "%v", err)

	crossed := *one.Config
	crossed.TLSClientConfig = two.Config.TLSClientConfig
	crossed.TLSClientConfig.Insecure, crossed.TLSClientConfig.CAData = true, nil
	crossedClient, err := kubernetes.NewForConfig(&crossed)
	require.NoError(t, err)
	_, err = crossedClient.CoreV1().ConfigMaps("default").Get(t.Context(), "mine", metav1.GetOptions{})
	require.True(t, apierrors.IsUnauthorized(err), "%v", err)
}
