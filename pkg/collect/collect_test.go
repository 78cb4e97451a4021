package collect

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/leaktest"
)

func TestMain(m *testing.M) {
	leaktest.Main(m, goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"), // idle connections to servers of tests
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"))
}

// server is an API that answers with texts, by path; a path that ends in / is for all below.
func server(t *testing.T, answers map[string]string) *rest.Config {
	t.Helper()
	mux := http.NewServeMux()
	for path, answer := range answers {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			if code := strings.TrimPrefix(answer, "code "); code != answer {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"no"}`)
				return
			}
			if !strings.Contains(r.URL.Path, "/log") {
				w.Header().Set("Content-Type", "application/json")
			}
			_, _ = io.WriteString(w, answer)
		})
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return &rest.Config{Host: s.URL}
}

// hostAPI is a host with a control plane, a pod of the tenant's and a Secret.
func hostAPI() map[string]string {
	pod := func(name, annotations string) string {
		return fmt.Sprintf(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":%q,"namespace":"tenants","annotations":{%s}},"status":{"containerStatuses":[{"name":"main","state":{"running":{}},"lastState":{"terminated":{"exitCode":1}}}]}}`, name, annotations)
	}
	return map[string]string{
		"/version": `{"gitVersion":"v1.36.3"}`,
		"/api":     `{"kind":"APIVersions","versions":["v1"]}`,
		"/apis":    `{"kind":"APIGroupList","apiVersion":"v1","groups":[]}`,
		"/api/v1": `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"v1","resources":[
			{"name":"pods","kind":"Pod","namespaced":true,"verbs":["list"]},{"name":"pods/log","kind":"Pod","namespaced":true,"verbs":["get"]},
			{"name":"secrets","kind":"Secret","namespaced":true,"verbs":["list"]},{"name":"services","kind":"Service","namespaced":true,"verbs":["list"]},
			{"name":"nodes","kind":"Node","namespaced":false,"verbs":["list"]},{"name":"events","kind":"Event","namespaced":true,"verbs":["list"]}]}`,
		"/api/v1/namespaces/tenants/pods": `{"kind":"PodList","apiVersion":"v1","items":[` + pod("team-a-0", "") + `,` +
			pod("web-x-0123", `"nestling.dev/namespace":"shop","nestling.dev/name":"web"`) + `]}`,
		"/api/v1/namespaces/tenants/secrets":                   `{"kind":"SecretList","apiVersion":"v1","items":[{"kind":"Secret","apiVersion":"v1","metadata":{"name":"s"},"data":{"a":"aHVudGVyMjI="}}]}`,
		"/api/v1/namespaces/tenants/services":                  "code 403",
		"/api/v1/namespaces/tenants/events":                    `{"kind":"EventList","apiVersion":"v1","items":[{"kind":"Event","apiVersion":"v1","metadata":{"name":"e"},"involvedObject":{"kind":"Pod","name":"team-a-0"},"type":"Warning","reason":"Failed","message":"no\nluck","count":3,"lastTimestamp":"2026-01-02T03:04:05Z"},{"involvedObject":{"kind":"Pod","name":"other"},"reason":"Other"}]}`,
		"/api/v1/namespaces/tenants/pods/{pod}/log":            "2026-01-02T03:04:05Z token: " + token + "\n",
		"/api/v1/namespaces/tenants":                           `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"tenants"}}`,
		"/api/v1/nodes":                                        "code 403",
		"/apis/rbac.authorization.k8s.io/v1/":                  "code 403",
		"/api/v1/namespaces/tenants/secrets/team-a-kubeconfig": `{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"team-a-kubeconfig"}}`,
	}
}

func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		out[name] = string(text)
		return err
	}))
	return out
}

// A tenant whose API is dead has a host all the same.
func TestATenantThatIsDead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "report")
	sink, err := Directory(dir)
	require.NoError(t, err)
	report, err := Collect(t.Context(), Options{
		Tenant: "team-a", Namespace: "tenants", Host: server(t, hostAPI()), Unreachable: fmt.Errorf("connection refused"), Reason: "make ended with code 2",
	}, sink)
	require.NoError(t, err)
	got := files(t, dir)
	for _, name := range []string{
		"report.json", "host/events.txt", "host/objects/pods.yaml", "host/objects/secrets.yaml", "host/objects/namespaces.yaml",
		"host/logs/team-a-0/main.log", "host/logs/team-a-0/main.previous.log", "virtual/logs/shop/web/main.log", "virtual/logs/shop/web/main.previous.log",
	} {
		require.Contains(t, got, name)
	}
	require.Equal(t, "2026-01-02T03:04:05Z Warning pod/team-a-0  Failed: no luck (3 times)\n", got["host/events.txt"])
	for name, text := range got {
		require.NotContains(t, text, "aHVudGVyMjI=", name)
		require.NotContains(t, text, token, name)
	}
	require.Equal(t, "v1.36.3", report.Host)
	require.Empty(t, report.Virtual)
	require.Contains(t, report.Problems, "virtual: its API cannot be reached: connection refused")
	require.Contains(t, strings.Join(report.Problems, "\n"), "host: no right to list clusterrolebindings.rbac.authorization.k8s.io, clusterroles.rbac.authorization.k8s.io, nodes, services")
	var told Report
	require.NoError(t, json.Unmarshal([]byte(got["report.json"]), &told))
	require.Equal(t, "make ended with code 2", told.Reason)
}

// What the tenant's API says is a tenant's word.
func TestATenantThatIsHostile(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "a", "report")
	sink, err := Directory(dir)
	require.NoError(t, err)
	flood := `{"kind":"SecretList","apiVersion":"v1","items":[{"kind":"Secret","apiVersion":"v1","metadata":{"name":"s"},"data":{"a":"` + strings.Repeat("A", answerBytes) + `"}}]}`
	report, err := Collect(t.Context(), Options{Tenant: "team-a", Namespace: "tenants", Host: server(t, hostAPI()), Virtual: server(t, map[string]string{
		"/version": `{"gitVersion":"v0"}`,
		"/api":     `{"kind":"APIVersions","versions":["v1"]}`,
		"/apis":    `{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"../../../evil","versions":[{"groupVersion":"../../../evil/v1","version":"v1"}],"preferredVersion":{"groupVersion":"../../../evil/v1","version":"v1"}}]}`,
		"/api/v1": `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"v1","resources":[
			{"name":"secrets","kind":"Secret","namespaced":true,"verbs":["list"]},{"name":"..","kind":"X","namespaced":true,"verbs":["list"]},{"name":"..%2f..%2fx","kind":"X","namespaced":true,"verbs":["list"]}]}`,
		"/api/v1/secrets": flood,
		"/api/v1/pods":    `{"kind":"PodList","apiVersion":"v1","items":[{"metadata":{"name":"../../../../p","namespace":"..\u0000"},"status":{"containerStatuses":[{"name":"../c","state":{"running":{}}}]}}]}`,
		"/":               `{"kind":"List","apiVersion":"v1","items":[{"kind":"X","apiVersion":"v1","metadata":{"name":"x"}}]}`,
	})}, sink)
	require.NoError(t, err)
	require.Contains(t, strings.Join(report.Problems, "\n"), "the answer has more than 64 MiB")
	for name := range files(t, base) {
		require.True(t, strings.HasPrefix(name, "a/report/"), name)
	}
}

func TestTimeIsBounded(t *testing.T) {
	hang := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(hang.Close)
	dir := filepath.Join(t.TempDir(), "report")
	sink, err := Directory(dir)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	report, err := Collect(ctx, Options{Tenant: "team-a", Namespace: "tenants", Host: &rest.Config{Host: hang.URL}, Virtual: &rest.Config{Host: hang.URL}}, sink)
	require.NoError(t, err)
	require.NotEmpty(t, report.Problems)
	require.FileExists(t, filepath.Join(dir, summaryFile))
}
