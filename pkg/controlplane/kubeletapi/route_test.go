package kubeletapi

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestParseRoute(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]route{
		"/healthz":                                {action: actionHealth},
		"/containerLogs/default/web-0/app":        {action: actionLogs, namespace: "default", pod: "web-0", container: "app"},
		"/containerLogs/default/web.example/app":  {action: actionLogs, namespace: "default", pod: "web.example", container: "app"},
		"/exec/default/web-0/app":                 {action: actionExec, namespace: "default", pod: "web-0", container: "app"},
		"/exec/default/web-0/4ee6-A/app":          {action: actionExec, namespace: "default", pod: "web-0", uid: "4ee6-A", container: "app"},
		"/attach/default/web-0/app":               {action: actionAttach, namespace: "default", pod: "web-0", container: "app"},
		"/attach/default/web-0/4ee6/app":          {action: actionAttach, namespace: "default", pod: "web-0", uid: "4ee6", container: "app"},
		"/portForward/default/web-0":              {action: actionPortForward, namespace: "default", pod: "web-0"},
		"/portForward/default/web-0/4ee6":         {action: actionPortForward, namespace: "default", pod: "web-0", uid: "4ee6"},
		"/exec/exec/exec/exec":                    {action: actionExec, namespace: "exec", pod: "exec", container: "exec"},
		"/containerLogs/default/web-0/app?a=/b/c": {action: actionLogs, namespace: "default", pod: "web-0", container: "app"},
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			location, err := url.ParseRequestURI(path)
			require.NoError(t, err)
			got, ok := parseRoute(location)
			require.True(t, ok)
			require.Equal(t, want, got)
		})
	}
}

// strangePaths are refused.
var strangePaths = []string{
	"/", "//", "/healthz/", "/healthz/x", "//healthz", "/Healthz", "/healthz%2f",
	"/pods", "/runningpods", "/stats/summary", "/metrics", "/metrics/resource", "/metrics/cadvisor", "/configz", "/logs/", "/debug/pprof/",
	"/run/default/web-0/app", "/checkpoint/default/web-0/app", "/cri/exec/token",
	"/exec", "/exec/", "/exec/default", "/exec/default/web-0", "/exec/default/web-0/", "/exec/default/web-0/app/", "/exec/default/web-0/uid/app/more",
	"/exec/default//app", "/exec//web-0/app", "//exec/default/web-0/app", "/exec/default/web-0//app",
	"/exec/default/./web-0/app", "/exec/../exec/default/web-0/app", "/exec/default/../app", "/exec/default/web-0/..", "/exec/default/web-0/.",
	"/exec/default/web-0%2flog/app", "/exec/default/web-0%2Fapp", "/exec/default/%77eb-0/app", "/exec/default/web-0/app%00", "/exec/default/web-0/app%20",
	"/exec/default/%2e%2e/app", "/exec/%2e%2e/%2e%2e/nodes", "/exec/default/web-0/..%2f..%2fapp", "/exec/default/web-0%3fa=b/app",
	"/exec/Default/web-0/app", "/exec/default/WEB/app", "/exec/default/web_0/app", "/exec/default/web-0/app.", "/exec/default/web-0/-app",
	"/exec/kube.system/web-0/app", "/exec/default/web-0/u_id/app", `/exec/default/web-0/app\x`, "/exec/default/web-0;a/app",
	"/portForward/default", "/portForward/default/web-0/", "/portForward/default/web-0/uid/x", "/containerLogs/default/web-0", "/containerLogs/default/web-0/uid/app",
}

func TestStrangePathsAreNotFound(t *testing.T) {
	t.Parallel()
	for _, path := range strangePaths {
		location, err := url.ParseRequestURI(path)
		if err != nil {
			continue // net/http refuses it before us
		}
		_, ok := parseRoute(location)
		require.False(t, ok, path)
	}
}

// onlyPods is what the host may be asked for.
var onlyPods = regexp.MustCompile(`^/api/v1/namespaces/hosts/pods/t-default-web-0-abc/(log|exec|attach|portforward)$`)

// hostParameters are all that the host is ever asked with.
var hostParameters = []string{
	"container", "command", "stdin", "stdout", "stderr", "tty", "ports",
	"follow", "previous", "timestamps", "sinceSeconds", "sinceTime", "tailLines", "limitBytes", "stream",
}

// requireOnlyPods sends a request with any method and request target, lets the resolver
// know every pod, and looks at what reaches the host: only the four subresources of the
// host pod, with our parameters and the container of the path.
func requireOnlyPods(t require.TestingT, method, target string) (reached int) {
	location, err := url.ParseRequestURI(target)
	if err != nil {
		return 0 // net/http refuses it
	}
	asked := &recorder{}
	host, err := newHostAPI(hostConfig())
	require.NoError(t, err)
	host.transport = asked
	server := &handler{
		host: host, clientName: clientName, places: make(chan struct{}, 1), upgradeTimeout: defaultUpgradeTimeout,
		resolver: ResolverFunc(func(_, _ string) (Target, error) {
			return Target{Namespace: hostNamespace, Name: hostPod, Containers: []string{"app"}}, nil
		}),
	}
	request := &http.Request{
		Method: method, URL: location, TLS: verified(clientName),
		Header: http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}},
	}
	server.ServeHTTP(httptest.NewRecorder(), request)
	for _, request := range asked.requests {
		require.Regexp(t, onlyPods, request.URL.EscapedPath(), target)
		require.Contains(t, []string{http.MethodGet, http.MethodPost}, request.Method)
		query := request.URL.Query()
		if !strings.HasSuffix(request.URL.Path, "/portforward") {
			require.Equal(t, []string{"app"}, query["container"], target)
		}
		for key := range query {
			require.Contains(t, hostParameters, key, target)
		}
	}
	return len(asked.requests)
}

var methods = []string{"GET", "GET", "POST", "POST", "PUT", "DELETE", "CONNECT", "get"}

func TestOnlyPodsReachTheHost(t *testing.T) {
	t.Parallel()
	strange := rapid.SampledFrom([]string{
		"", ".", "..", "%2e%2e", "%2f", "a%2fb", "%00", "a%3fb", ";a=b", "A", "nodes", "secrets", "run", "healthz", "hosts", "uid-1",
	})
	// A good path, in which each segment may be swapped for a strange one.
	part := func(t *rapid.T, good ...string) string {
		if rapid.IntRange(0, 7).Draw(t, "strange") == 0 {
			return strange.Draw(t, "segment")
		}
		return rapid.SampledFrom(good).Draw(t, "segment")
	}
	pair := rapid.SampledFrom([]string{
		"output=1", "input=1", "command=sh", "command=/../..", "port=80", "port=80,81", "container=other", "follow=true",
		"limitBytes=5", "sinceTime=2020-01-01T00:00:00Z", "x=%2f..", "stdin=true", "&", ";", "%zz", "ports=1",
	})
	reached := 0
	rapid.Check(t, func(t *rapid.T) {
		segments := []string{part(t, "exec", "attach", "portForward", "containerLogs"), part(t, "default"), part(t, "web-0")}
		if segments[0] != "portForward" || rapid.Bool().Draw(t, "more") {
			segments = append(segments, part(t, "app"))
		}
		if rapid.IntRange(0, 3).Draw(t, "with a UID") == 0 {
			segments = append(segments, part(t, "app"))
		}
		query := strings.Join(append([]string{"output=1&port=1"}, rapid.SliceOfN(pair, 0, 5).Draw(t, "query")...), "&")
		method := rapid.SampledFrom(methods).Draw(t, "method")
		reached += requireOnlyPods(t, method, "/"+strings.Join(segments, "/")+"?"+query)
	})
	require.NotZero(t, reached, "the property says nothing if nothing gets through")
}

func FuzzRoute(f *testing.F) {
	for _, path := range strangePaths {
		f.Add("GET", path)
	}
	f.Add("POST", "/exec/default/web-0/app?command=sh&input=1&container=other&command=/../..")
	f.Add("GET", "/portForward/default/web-0?port=80")
	f.Add("GET", "/containerLogs/default/web-0/app?follow=true&limitBytes=5&sinceTime=2020-01-01T00:00:00Z&x=%2f..")
	f.Add("DELETE", "/containerLogs/default/web-0/app")
	f.Fuzz(func(t *testing.T, method, target string) { requireOnlyPods(t, method, target) })
}
