package resources

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"nestling.dev/nestling/syncer/naming"
)

// TokensKind is the kind annotation of the host Secret that holds a pod's tokens: it is
// derived from the pod and is the translation of no virtual Secret.
const TokensKind = "Pod/tokens"

// Token is one ServiceAccount token that a pod's projected volume asks for.
type Token struct {
	Volume            string // name of the pod's volume
	Source            int    // index among the volume's projected sources
	Key               string // of the host Secret; unique within the pod
	Audience          string // "" is the API server's default
	ExpirationSeconds int64
	Path              string // of the file within the volume
}

// tokenExpirationSeconds is the life of a token whose source names none: the
// default of the API (core/v1 ServiceAccountTokenProjection).
const tokenExpirationSeconds = 3600

// Tokens is every ServiceAccount token that a virtual pod's volumes ask for, in
// their order.
func Tokens(pod *corev1.Pod) []Token {
	var out []Token
	for _, volume := range pod.Spec.Volumes {
		if volume.Projected == nil {
			continue
		}
		for source, projection := range volume.Projected.Sources {
			if projection.ServiceAccountToken == nil {
				continue
			}
			token := Token{
				Volume: volume.Name, Source: source,
				// A volume's name is a DNS label, so it has no dot and the key is unique.
				Key:               fmt.Sprintf("%s.%d", volume.Name, source),
				Audience:          projection.ServiceAccountToken.Audience,
				ExpirationSeconds: tokenExpirationSeconds,
				Path:              projection.ServiceAccountToken.Path,
			}
			if seconds := projection.ServiceAccountToken.ExpirationSeconds; seconds != nil {
				token.ExpirationSeconds = *seconds
			}
			out = append(out, token)
		}
	}
	return out
}

// TokenSecretName is the name of the host Secret that holds the tokens of a virtual pod.
func TokenSecretName(tenant, namespace, pod string) string {
	return naming.Derived("tokens", tenant, namespace, pod)
}
