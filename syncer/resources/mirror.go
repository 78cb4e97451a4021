package resources

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"nestling.dev/nestling/syncer/resource"
)

// mirrorMeta is the metadata of the mirror of a cluster-wide object. Annotations are notes
// of the host's own tools and are not shown.
func mirrorMeta(host resource.Object) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: host.GetName(), Labels: host.GetLabels()}
}
