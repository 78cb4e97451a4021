package apigroup

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	"k8s.io/apiserver/pkg/endpoints/handlers/negotiation"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
)

// WithDiscovery adds the groups to the list at /apis in its old form, which the aggregator
// makes of APIService objects alone. The form that carries all resources at once, which
// kubectl and newer clients ask for, has them already.
func WithDiscovery(next http.Handler, groups []Group) http.Handler {
	if len(groups) == 0 {
		return next
	}
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	scheme.AddUnversionedTypes(schema.GroupVersion{Version: "v1"}, &metav1.APIGroupList{}, &metav1.Status{})
	list := groupList{next: next, groups: groups, codecs: serializer.NewCodecFactory(scheme)}
	byForm := aggregated.WrapAggregatedDiscoveryToHandler(list, next, next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && (r.URL.Path == "/apis" || r.URL.Path == "/apis/") {
			byForm.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

type groupList struct {
	next   http.Handler
	groups []Group
	codecs serializer.CodecFactory
}

func (g groupList) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	plain := r.Clone(r.Context())
	plain.Header = http.Header{"Accept": {"application/json"}}
	answer := &recorder{header: http.Header{}, code: http.StatusOK}
	g.next.ServeHTTP(answer, plain)
	var list metav1.APIGroupList
	if answer.code != http.StatusOK || json.Unmarshal(answer.body.Bytes(), &list) != nil {
		g.next.ServeHTTP(w, r) // whatever it is, in the form that was asked for
		return
	}
	for _, group := range g.groups {
		if !group.Listing.shown() {
			continue
		}
		list.Groups = with(list.Groups, group.version())
	}
	responsewriters.WriteObjectNegotiated(g.codecs, negotiation.DefaultEndpointRestrictions, schema.GroupVersion{}, w, r, http.StatusOK, &list, false)
}

// with adds the version behind those that a tenant's APIServices stand for.
func with(groups []metav1.APIGroup, version schema.GroupVersion) []metav1.APIGroup {
	entry := metav1.GroupVersionForDiscovery{GroupVersion: version.String(), Version: version.Version}
	i := slices.IndexFunc(groups, func(group metav1.APIGroup) bool { return group.Name == version.Group })
	if i < 0 {
		return append(groups, metav1.APIGroup{
			Name: version.Group, Versions: []metav1.GroupVersionForDiscovery{entry}, PreferredVersion: entry,
		})
	}
	if !slices.Contains(groups[i].Versions, entry) {
		groups[i].Versions = append(groups[i].Versions, entry)
	}
	return groups
}

// recorder keeps a short answer.
type recorder struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header               { return r.header }
func (r *recorder) WriteHeader(code int)              { r.code = code }
func (r *recorder) Write(content []byte) (int, error) { return r.body.Write(content) }
