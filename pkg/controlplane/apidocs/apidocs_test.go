package apidocs

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	restful "github.com/emicklei/go-restful/v3"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/mux"
	"k8s.io/apiserver/pkg/server/routes"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	generated "k8s.io/kubernetes/pkg/generated/openapi"
)

// both are upstream's handlers and ours, of one small API.
func both() (upstream, ours http.Handler) {
	container := restful.NewContainer()
	nothing := func(*restful.Request, *restful.Response) {}
	core := new(restful.WebService).Path("/api/v1").Produces("application/json")
	core.Route(core.GET("/pods").To(nothing).Operation("listPod").Returns(200, "OK", corev1.PodList{}).Writes(corev1.PodList{}))
	apps := new(restful.WebService).Path("/apis/apps/v1").Produces("application/json")
	apps.Route(apps.GET("/deployments").To(nothing).Operation("listDeployment").Returns(200, "OK", appsv1.DeploymentList{}).Writes(appsv1.DeploymentList{}))
	container.Add(core)
	container.Add(apps)
	namer := openapi.NewDefinitionNamer(legacyscheme.Scheme)
	v2 := genericapiserver.DefaultOpenAPIConfig(generated.GetOpenAPIDefinitions, namer)
	v3 := genericapiserver.DefaultOpenAPIV3Config(generated.GetOpenAPIDefinitions, namer)

	v2.Info.Title, v2.Info.Version = "Example", "v1"
	v3.Info.Title, v3.Info.Version = "Example", "v1"
	LetGo(v2, v3)

	theirs := mux.NewPathRecorderMux("upstream")
	service := routes.OpenAPI{Config: v2, V3Config: v3}
	service.InstallV2(container, theirs)
	service.InstallV3(container, theirs)
	mine := mux.NewPathRecorderMux("ours")
	install(mine, container, v2, v3)
	return theirs, mine
}

// Whatever is asked, the answer is upstream's: the second time, too, when what was made is gone.
func TestAnswersAreUpstreams(t *testing.T) {
	t.Parallel()
	upstream, ours := both()
	ask := func(of http.Handler, path string, header http.Header) *http.Response {
		request := httptest.NewRequest(http.MethodGet, path, nil)
		request.Header = header.Clone()
		recorder := httptest.NewRecorder()
		of.ServeHTTP(recorder, request)
		return recorder.Result()
	}
	accept := func(value string) http.Header { return http.Header{"Accept": {value}} }
	etag := ask(upstream, "/openapi/v3/apis/apps/v1", http.Header{}).Header.Get("Etag")
	hash := etag[1 : len(etag)-1]
	for name, request := range map[string]struct {
		path   string
		header http.Header
		status int
	}{
		"version 2":                    {"/openapi/v2", http.Header{}, 200},
		"version 2 as protobuf":        {"/openapi/v2", accept("application/com.github.proto-openapi.spec.v2@v1.0+protobuf"), 200},
		"version 2, what kubectl asks": {"/openapi/v2", accept("application/com.github.proto-openapi.spec.v2.v1.0+protobuf, */*;q=0.1"), 200},
		"version 2 as something else":  {"/openapi/v2", accept("text/html"), 406},
		"the list":                     {"/openapi/v3", http.Header{}, 200},
		"the list as something else":   {"/openapi/v3", accept("text/html"), 200},
		"a group":                      {"/openapi/v3/apis/apps/v1", accept("application/json"), 200},
		"the core":                     {"/openapi/v3/api/v1", accept("application/*"), 200},
		"a group as protobuf":          {"/openapi/v3/apis/apps/v1", accept("application/com.github.proto-openapi.spec.v3.v1.0+protobuf"), 200},
		"by order of preference":       {"/openapi/v3/apis/apps/v1", accept("application/json;q=0.5, application/com.github.proto-openapi.spec.v3@v1.0+protobuf"), 200},
		"a group as something else":    {"/openapi/v3/apis/apps/v1", accept("text/html"), 406},
		"a group by its hash":          {"/openapi/v3/apis/apps/v1?hash=" + hash, http.Header{}, 200},
		"a group by an old hash":       {"/openapi/v3/apis/apps/v1?hash=OLD", http.Header{}, 301},
		"a group that one has":         {"/openapi/v3/apis/apps/v1", http.Header{"If-None-Match": {etag}}, 304},
		"a part":                       {"/openapi/v3/apis/apps/v1", http.Header{"Range": {"bytes=0-99"}}, 206},
	} {
		for range 2 {
			want, got := ask(upstream, request.path, request.header), ask(ours, request.path, request.header)
			require.Equal(t, request.status, want.StatusCode, name)
			require.Equal(t, want.StatusCode, got.StatusCode, name)
			for _, key := range []string{"Content-Type", "Etag", "Cache-Control", "Location", "Content-Range"} {
				require.Equal(t, want.Header.Values(key), got.Header.Values(key), "%s: %s", name, key)
			}
			// The aggregator in front of version 2 compresses it, so that nobody need do that here.
			vary := slices.DeleteFunc(slices.Clone(want.Header.Values("Vary")), func(is string) bool { return is == "Accept-Encoding" })
			require.ElementsMatch(t, vary, got.Header.Values("Vary"), name)
			require.Equal(t, want.Header.Get("Expires") != "", got.Header.Get("Expires") != "", name)
			wanted, gotten := body(t, want), body(t, got)
			require.Equal(t, len(wanted), len(gotten), name)
			require.True(t, string(wanted) == string(gotten), name)
		}
	}
	require.Equal(t, http.StatusNotFound, ask(ours, "/openapi/v3/apis/other/v1", http.Header{}).StatusCode)
}

func body(t *testing.T, response *http.Response) []byte {
	t.Helper()
	defer response.Body.Close()
	var out []byte
	buffer := make([]byte, 1<<16)
	for {
		n, err := response.Body.Read(buffer)
		out = append(out, buffer[:n]...)
		if err != nil {
			return out
		}
	}
}
