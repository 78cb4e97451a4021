package controlplane_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"nestling.dev/nestling/pkg/controlplane/controlplanetest"
)

// What is open goes on; who comes from now on sees the new names.
func TestServingCertificateGetsNewNamesWithoutARestart(t *testing.T) {
	t.Parallel()
	server := controlplanetest.Start(t, controlplanetest.Options{})
	client, err := kubernetes.NewForConfig(server.Config)
	require.NoError(t, err)
	watch, err := client.CoreV1().Namespaces().Watch(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	defer watch.Stop()

	address, err := url.Parse(server.Config.Host)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(server.PKI.CAPEM()))
	meet := func(name string) error {
		connection, err := tls.Dial("tcp", address.Host, &tls.Config{RootCAs: roots, ServerName: name})
		if err == nil {
			_ = connection.Close()
		}
		return err
	}
	require.Error(t, meet("tenant.example"))
	require.NoError(t, server.API.SetSANs([]string{"tenant.example"}))
	require.EventuallyWithT(t, func(c *assert.CollectT) { require.NoError(c, meet("tenant.example")) }, 10*time.Second, 10*time.Millisecond)
	require.NoError(t, meet("kubernetes.default.svc"))

	_, err = client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "after"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	patience := time.After(10 * time.Second)
	for {
		select {
		case event, open := <-watch.ResultChan():
			require.True(t, open, "the watch was cut")
			if event.Object.(metav1.Object).GetName() == "after" {
				return
			}
		case <-patience:
			t.Fatal("the watch did not go on")
		}
	}
}
