package resources

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"nestling.dev/nestling/syncer/resource"
)

// Secrets go to the host when something there refers to them, when they ask for it,
// or all of them.
func Secrets(all bool) resource.Kind {
	return resource.Spec[*corev1.Secret]{
		Resource:   corev1.SchemeGroupVersion.WithResource("secrets"),
		Kind:       "Secret",
		Namespaced: true,
		Direction:  resource.ToHost,
		NoStatus:   true,
		About: resource.About{
			Virtual: "everything; types that the host's controllers act on become Opaque",
			Host:    "nothing",
			Default: "those that a synced object refers to, or that ask by `nestling.dev/sync: \"true\"`; all with `sync.secrets: all`",
		},
		New: func() *corev1.Secret { return &corev1.Secret{} },
		Select: func(env resource.Env, virtual *corev1.Secret) bool {
			return all || wanted(env, "secrets", virtual)
		},
		Reasons: secretReasons(),
		ToHost:  secretToHost,
		MergeHost: func(_ resource.Env, desired, live *corev1.Secret) *corev1.Secret {
			out := *live
			out.Data, out.Type, out.Immutable = desired.Data, desired.Type, desired.Immutable
			return &out
		},
		Replace: func(desired, live *corev1.Secret) bool {
			return desired.Type != live.Type ||
				truth(live.Immutable) && (!truth(desired.Immutable) || !sameContent(desired.Data, live.Data))
		},
	}.Erase()
}

func secretToHost(env resource.Env, virtual *corev1.Secret) (*corev1.Secret, error) {
	desired := &corev1.Secret{
		ObjectMeta: resource.HostMeta(env, virtual),
		Data:       virtual.Data,
		Type:       virtual.Type,
		Immutable:  virtual.Immutable,
	}
	switch virtual.Type {
	case "":
		desired.Type = corev1.SecretTypeOpaque // as the API defaults it
	case corev1.SecretTypeServiceAccountToken, corev1.SecretTypeBootstrapToken:
		// The host's controllers give these types a meaning in the host's cluster: they
		// would fill in, or accept, credentials of the host.
		desired.Type = corev1.SecretTypeOpaque
		for _, keys := range []map[string]string{desired.Labels, desired.Annotations} {
			for key := range keys {
				if strings.HasPrefix(key, "kubernetes.io/") {
					delete(keys, key)
				}
			}
		}
	}
	return desired, nil
}
