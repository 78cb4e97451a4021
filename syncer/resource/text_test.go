package resource

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"nestling.dev/nestling/syncer/naming"
)

// named is a View that knows host objects by their names.
type named map[string]Object

func (n named) Named(name string) Object                 { return n[name] }
func (n named) Virtual(string, Key) Object               { return nil }
func (n named) VirtualList(string, string) []Object      { return nil }
func (n named) Host(string, string) Object               { return nil }
func (n named) HostList(string) []Object                 { return nil }
func (n named) Departed(string, string) (_, host Object) { return nil, nil }
func (n named) Referenced(string, Key) bool              { return false }
func (n named) Created(types.UID) bool                   { return false }

func TestVirtualTextNamesNothingOfTheHost(t *testing.T) {
	t.Parallel()
	host := func(namespace, name string) string { return naming.Host("team-a", namespace, name) }
	db, other := host("shop", "db"), host("blog", "web")
	env := env
	env.View = named{
		other: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
			AnnotationIdentity: "identity-1", AnnotationNamespace: "blog", AnnotationName: "web"}}},
		host("x", "theirs"): &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
			AnnotationIdentity: "identity-2", AnnotationNamespace: "x", AnnotationName: "theirs"}}},
	}
	for text, want := range map[string]string{
		"":                     "",
		"secret \"" + db + `"`: `secret "db"`,
		"tenants/" + db + " waits for tenants/" + other:   "shop/db waits for blog/web",
		db + "_tenants(1234)":                             "db_shop(1234)",
		"lookup " + db + ".tenants.svc.cluster.local":     "lookup db.shop.svc.cluster.local",
		"no quota in namespace tenants, said \"tenants\"": "no quota in namespace shop, said \"shop\"",
		"all tenants may":                                 "all tenants may",
		"my-" + db + " " + db + "x":                       "my-" + db + " " + db + "x", // no host names
		host("x", "unknown"):                              host("x", "unknown"),
		host("x", "theirs"):                               host("x", "theirs"),
	} {
		if diff := cmp.Diff(want, VirtualText(env, "shop", NamesOf(env, Key{Namespace: "shop", Name: "db"}), text)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}
