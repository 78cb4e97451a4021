package access

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/deploy"
)

const (
	// serverAnnotation is the URL in the Secret, for people who look.
	serverAnnotation = "nestling.dev/server"
	// renewAnnotation is when the credential is renewed, RFC 3339.
	renewAnnotation = "nestling.dev/renew-at"
	// expiresAnnotation is the end of the credential, RFC 3339.
	expiresAnnotation = "nestling.dev/credential-expires-at"
	// contentAnnotation is a hash of what the Secret was made of and of its data: where it does not fit, somebody
	// changed one of them.
	contentAnnotation = "nestling.dev/content"

	// fluxKey is where Flux looks for a kubeconfig, unless it is told another key.
	fluxKey = "value"
	// argoLabel makes a Secret a cluster of Argo CD. The process sets it together with the data: Argo CD reads what it
	// sees.
	argoLabel, argoCluster = "argocd.argoproj.io/secret-type", "cluster"
)

// Access is what a Secret says.
type Access struct {
	Format config.KubeconfigFormat
	// Cluster is the tenant's name to the reader, and Server the URL of its API, of the authority CA.
	Cluster, Server string
	CA              []byte
	Credential      Credential
}

// Credential is who the reader is. It has a token, or a certificate and its key.
type Credential struct {
	User      string
	Token     string
	Cert, Key []byte
	// Issued and Expires bound its life.
	Issued, Expires time.Time
}

// renewAt is when a third of its life is left.
func (c Credential) renewAt() time.Time {
	return c.Expires.Add(-c.Expires.Sub(c.Issued) / 3)
}

// Data is that of the Secret.
func (a Access) Data() (map[string][]byte, error) {
	if a.Format == config.FormatArgoCD {
		return a.argo()
	}
	file := clientcmdapi.NewConfig()
	file.Clusters[a.Cluster] = &clientcmdapi.Cluster{Server: a.Server, CertificateAuthorityData: a.CA}
	file.AuthInfos[a.Credential.User] = &clientcmdapi.AuthInfo{
		Token: a.Credential.Token, ClientCertificateData: a.Credential.Cert, ClientKeyData: a.Credential.Key,
	}
	file.Contexts[a.Cluster] = &clientcmdapi.Context{Cluster: a.Cluster, AuthInfo: a.Credential.User}
	file.CurrentContext = a.Cluster
	text, err := clientcmd.Write(*file)
	if err != nil {
		return nil, fmt.Errorf("write a kubeconfig for %s: %w", a.Credential.User, err)
	}
	if a.Format == config.FormatFlux {
		return map[string][]byte{fluxKey: text}, nil
	}
	return map[string][]byte{deploy.KubeconfigKey: text}, nil
}

// argoConfig is the part of Argo CD's format that is used here.
type argoConfig struct {
	BearerToken string  `json:"bearerToken,omitempty"`
	TLS         argoTLS `json:"tlsClientConfig"`
}

type argoTLS struct {
	CA   []byte `json:"caData"`
	Cert []byte `json:"certData,omitempty"`
	Key  []byte `json:"keyData,omitempty"`
}

func (a Access) argo() (map[string][]byte, error) {
	config, err := json.Marshal(argoConfig{
		BearerToken: a.Credential.Token, TLS: argoTLS{CA: a.CA, Cert: a.Credential.Cert, Key: a.Credential.Key},
	})
	if err != nil {
		return nil, fmt.Errorf("write an Argo CD cluster for %s: %w", a.Credential.User, err)
	}
	return map[string][]byte{"name": []byte(a.Cluster), "server": []byte(a.Server), "config": config}, nil
}

// labels are those that go with the data.
func labels(format config.KubeconfigFormat, names deploy.Names) map[string]string {
	out := map[string]string{deploy.ControlPlaneLabel: names.Tenant}
	if format == config.FormatArgoCD {
		out[argoLabel] = argoCluster
	}
	return out
}

// origin is all that makes a Secret the right one, but for the credential's age.
type origin struct {
	Format          config.KubeconfigFormat
	Cluster, Server string
	CA              []byte
	User            string
	Groups          []string
	// Holder is the UID of a ServiceAccount: one that is made anew has other tokens.
	Holder string
}

// hash of an origin and the data that was made of it.
func (o origin) hash(data map[string][]byte) string {
	sum := sha256.New()
	encoder := json.NewEncoder(sum)
	for _, part := range []any{o, data} {
		_ = encoder.Encode(part) // a hash takes everything, and so does JSON of these
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// verdict is what is to be done with a Secret.
type verdict int

const (
	good    verdict = iota // stays as it is, so that copies of it stay equal to it
	stale                  // gets other data
	foreign                // is somebody else's
)

// judge looks at a Secret that is there. owned says that it belongs to the tenant's anchor.
func judge(secret *corev1.Secret, of string, owned bool, wanted origin, now time.Time) verdict {
	made := secret.Annotations[contentAnnotation]
	marked := secret.Annotations[deploy.KubeconfigOfAnnotation] == of
	switch {
	case !owned && !marked:
		return foreign
	case !owned && made == "" && len(secret.Data) > 0: // manifests that were applied over somebody's Secret
		return foreign
	case made != wanted.hash(secret.Data):
		return stale
	}
	renewAt, err := time.Parse(time.RFC3339, secret.Annotations[renewAnnotation])
	if err != nil || !now.Before(renewAt) {
		return stale
	}
	return good
}

// life is when a credential is renewed, and when it would end; zero if that is not known.
type life struct{ renew, end time.Time }

// lifeOf is what a Secret says.
func lifeOf(secret *corev1.Secret) life {
	renew, _ := time.Parse(time.RFC3339, secret.Annotations[renewAnnotation])
	end, _ := time.Parse(time.RFC3339, secret.Annotations[expiresAnnotation])
	return life{renew, end}
}

// annotations tell what judge reads.
func annotations(of string, from origin, data map[string][]byte, credential Credential) map[string]string {
	return map[string]string{
		deploy.KubeconfigOfAnnotation: of,
		serverAnnotation:              from.Server,
		contentAnnotation:             from.hash(data),
		expiresAnnotation:             credential.Expires.UTC().Format(time.RFC3339),
		renewAnnotation:               credential.renewAt().UTC().Format(time.RFC3339),
	}
}

// replaced is a merge patch's data: keys that are no more go.
func replaced(before, after map[string][]byte) map[string]any {
	out := map[string]any{}
	for key := range before {
		out[key] = nil
	}
	for _, key := range slices.Sorted(maps.Keys(after)) {
		out[key] = after[key]
	}
	return out
}
