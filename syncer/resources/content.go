package resources

import (
	"k8s.io/apimachinery/pkg/api/equality"

	"nestling.dev/nestling/syncer/resource"
)

// wanted reports whether a virtual ConfigMap or Secret is needed on the host: a
// synced object refers to it, or it asks for it itself.
func wanted(env resource.Env, plural string, virtual resource.Object) bool {
	return virtual.GetAnnotations()[resource.AnnotationSync] == "true" ||
		env.View.Referenced(plural, resource.KeyOf(virtual))
}

func truth(b *bool) bool { return b != nil && *b }

// sameContent compares as the API does: a nil map is an empty one.
func sameContent[V any](a, b map[string]V) bool {
	return equality.Semantic.DeepEqual(a, b)
}
