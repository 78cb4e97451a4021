package apidocs

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	restful "github.com/emicklei/go-restful/v3"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/mux"
	"k8s.io/apiserver/pkg/server/routes"
	"k8s.io/apiserver/pkg/util/responsewriter"
	"k8s.io/klog/v2"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/common/restfuladapter"
	"k8s.io/kube-openapi/pkg/handler"
	"k8s.io/kube-openapi/pkg/handler3"
)

// Paths of the documents.
const (
	pathV2 = "/openapi/v2"
	pathV3 = "/openapi/v3"
)

// LetGo keeps upstream's builders from holding on to all definitions: where this function is missing they put one of
// theirs into the configuration, which does.
func LetGo(v2 *common.Config, v3 *common.OpenAPIV3Config) {
	if old := v2.GetOperationIDAndTags; old != nil && v2.GetOperationIDAndTagsFromRoute == nil {
		v2.GetOperationIDAndTagsFromRoute = fromRoute(old)
	}
	if old := v3.GetOperationIDAndTags; old != nil && v3.GetOperationIDAndTagsFromRoute == nil {
		v3.GetOperationIDAndTagsFromRoute = fromRoute(old)
	}
}

func fromRoute(old func(*restful.Route) (string, []string, error)) func(common.Route) (string, []string, error) {
	return func(route common.Route) (string, []string, error) {
		adapter, ok := route.(*restfuladapter.RouteAdapter)
		if !ok {
			return "", nil, fmt.Errorf("OpenAPI: a route of type %T", route)
		}
		return old(adapter.Route)
	}
}

// Install puts the documents of a server's routes at their paths. The server is complete but for that, was told to leave
// it out (SkipOpenAPIInstallation), and is not prepared yet.
func Install(server *genericapiserver.GenericAPIServer, v2 *common.Config, v3 *common.OpenAPIV3Config) {
	install(server.Handler.NonGoRestfulMux, server.Handler.GoRestfulContainer, v2, v3)
}

func install(paths *mux.PathRecorderMux, container *restful.Container, v2 *common.Config, v3 *common.OpenAPIV3Config) {
	second := sync.OnceValues(func() (*document, error) { return makeV2(container, v2) })
	// The aggregator in front asks for the list at its start.
	third := sync.OnceValues(func() (*documentsV3, error) { return makeV3(container, v3) })
	paths.Handle(pathV2, with(second, func(made *document, w http.ResponseWriter, r *http.Request) { serve(w, r, "v2", "", made) }))
	paths.Handle(pathV3, with(third, (*documentsV3).list))
	paths.HandlePrefix(pathV3+"/", with(third, (*documentsV3).one))
}

// with hands a handler what is made when the first request wants it.
func with[T any](make func() (T, error), handle func(T, http.ResponseWriter, *http.Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		made, err := make()
		if err != nil {
			klog.FromContext(r.Context()).Error(err, "OpenAPI documents cannot be made")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		handle(made, w, r)
	})
}

func makeV2(container *restful.Container, config *common.Config) (*document, error) {
	upstream := mux.NewPathRecorderMux("openapi-v2")
	routes.OpenAPI{Config: config}.InstallV2(container, upstream)
	text, header, err := read(upstream, pathV2)
	if err != nil {
		return nil, err
	}
	return newDocument(text, etagOf(header), modifiedOf(header), handler.ToProtoBinary)
}

// documentsV3 are one for each group and version, and their list.
type documentsV3 struct {
	byName map[string]*document
	index  *document
}

func makeV3(container *restful.Container, config *common.OpenAPIV3Config) (*documentsV3, error) {
	upstream := mux.NewPathRecorderMux("openapi-v3")
	routes.OpenAPI{V3Config: config}.InstallV3(container, upstream)
	out := &documentsV3{byName: map[string]*document{}}
	for _, service := range container.RegisteredWebServices() {
		name := strings.TrimPrefix(service.RootPath(), "/")
		text, header, err := read(upstream, pathV3+"/"+name)
		if err != nil {
			return nil, err
		}
		if out.byName[name], err = newDocument(text, etagOf(header), modifiedOf(header), handler3.ToV3ProtoBinary); err != nil {
			return nil, err
		}
	}
	text, header, err := read(upstream, pathV3)
	if err != nil {
		return nil, err
	}
	out.index, err = newDocument(text, etagOf(header), modifiedOf(header), nil)
	return out, err
}

// list is JSON whatever a client asks for.
func (d *documentsV3) list(w http.ResponseWriter, r *http.Request) {
	text, err := d.index.text(formatJSON)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Etag", strconv.Quote(d.index.etag))
	w.Header().Set("Content-Type", "application/json")
	http.ServeContent(w, r, "", d.index.modified, bytes.NewReader(text))
}

func (d *documentsV3) one(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, pathV3+"/")
	found, ok := d.byName[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	serve(w, r, "v3", name, found)
}

// read asks one of upstream's handlers.
func read(upstream http.Handler, path string) ([]byte, http.Header, error) {
	request, err := http.NewRequest(http.MethodGet, path, nil)
	if err != nil {
		return nil, nil, err
	}
	request.Header.Set("Accept", "application/json")
	answer := responsewriter.NewInMemoryResponseWriter()
	upstream.ServeHTTP(answer, request)
	if answer.RespCode() != http.StatusOK {
		return nil, nil, fmt.Errorf("make the OpenAPI document %s: status %d", path, answer.RespCode())
	}
	return answer.Data(), answer.Header(), nil
}

func etagOf(header http.Header) string {
	if etag, err := strconv.Unquote(header.Get("Etag")); err == nil {
		return etag
	}
	return header.Get("Etag")
}

func modifiedOf(header http.Header) time.Time {
	at, err := http.ParseTime(header.Get("Last-Modified"))
	if err != nil {
		return time.Now()
	}
	return at
}
