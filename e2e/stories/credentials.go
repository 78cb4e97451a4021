package stories

import (
	"testing"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// credentials tries the administrator's certificate and ServiceAccount tokens of every
// audience at every API server but their own.
func credentials(t *testing.T, w *World) {
	type party struct {
		name   string
		config *rest.Config
		client kubernetes.Interface
		space  string // with a ServiceAccount default
	}
	parties := []party{
		{w.A.Name, w.A.Config, w.A.Client, metav1.NamespaceDefault},
		{w.B.Name, w.B.Config, w.B.Client, metav1.NamespaceDefault},
		{"the host", w.HostConfig, w.Host, w.HostNamespace},
	}
	for _, from := range parties {
		for _, to := range parties {
			if from.name == to.name {
				continue
			}
			attempts := map[string]*rest.Config{}
			if len(from.config.CertData) > 0 {
				certificate := rest.AnonymousClientConfig(to.config)
				certificate.CertData, certificate.KeyData = from.config.CertData, from.config.KeyData
				attempts["certificate"] = certificate
			}
			for what, audiences := range map[string][]string{
				"token": nil, // the audience is from's own API server
				"token for the usual audience of an API server": {"https://kubernetes.default.svc.cluster.local", "https://kubernetes.default.svc", "api", "kubernetes"},
			} {
				made, err := from.client.CoreV1().ServiceAccounts(from.space).CreateToken(t.Context(), "default",
					&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}, metav1.CreateOptions{})
				require.NoError(t, err)
				token := rest.AnonymousClientConfig(to.config)
				token.BearerToken = made.Status.Token
				attempts[what] = token
			}
			for what, attempt := range attempts {
				client, err := kubernetes.NewForConfig(attempt)
				require.NoError(t, err)
				_, err = client.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
				require.True(t, apierrors.IsUnauthorized(err), "%s of %s at %s: %v", what, from.name, to.name, err)
			}
		}
	}
}
