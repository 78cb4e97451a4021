package stories

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"testing"

	"github.com/stretchr/testify/require"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// signing asks the tenant for a user's certificate, as operators and people do.
func signing(t *testing.T, w *World) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "jane"}}, key)
	require.NoError(t, err)
	requests := w.A.Client.CertificatesV1().CertificateSigningRequests()
	made, err := requests.Create(t.Context(), &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "jane-"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request}),
			SignerName: certificatesv1.KubeAPIServerClientSignerName, Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	made.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Story"}}
	_, err = requests.UpdateApproval(t.Context(), made.Name, made, metav1.UpdateOptions{})
	require.NoError(t, err)
	var certificate []byte
	eventually(t, "the certificate", func(ctx context.Context) (bool, string) {
		found, err := requests.Get(ctx, made.Name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		certificate = found.Status.Certificate
		return len(certificate) > 0, asJSON(found.Status)
	})

	encoded, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	config := rest.AnonymousClientConfig(w.A.Config)
	config.CertData, config.KeyData = bytes.Clone(certificate), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: encoded})
	jane, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	_, err = jane.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), "%v", err)
	require.ErrorContains(t, err, `User "jane" cannot list resource "nodes"`)
	// The host has another authority.
	config = rest.AnonymousClientConfig(w.HostConfig)
	config.CertData, config.KeyData = bytes.Clone(certificate), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: encoded})
	stranger, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	_, err = stranger.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	require.True(t, apierrors.IsUnauthorized(err), "%v", err)
}
