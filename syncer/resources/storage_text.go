package resources

import (
	"regexp"

	"nestling.dev/nestling/syncer/resource"
)

// hostNamePattern is what package naming makes: a readable part and 16 digits of base32hex.
const hostNamePattern = `\b[a-z][a-z0-9-]*-[0-9a-v]{16}\b`

// virtualNames replaces the names of host objects of ours by those of their virtual ones,
// for text that may name any of them.
func virtualNames(env resource.Env, text string) string {
	return regexp.MustCompile(hostNamePattern).ReplaceAllStringFunc(text, func(word string) string {
		for _, plural := range []string{"pods", "persistentvolumeclaims", "volumesnapshots"} {
			host := env.View.Host(plural, word)
			if host == nil {
				_, host = env.View.Departed(plural, word)
			}
			if host == nil || host.GetAnnotations()[resource.AnnotationIdentity] != env.Identity {
				continue
			}
			if key, ok := resource.VirtualKey(host); ok {
				return key.Name
			}
		}
		return word
	})
}
