package activity

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
)

func TestWhoCounts(t *testing.T) {
	t.Parallel()
	pod := map[string][]string{"authentication.kubernetes.io/pod-name": {"web"}}
	for name, test := range map[string]struct {
		who  user.DefaultInfo
		want bool
	}{
		"the administrator":                   {user.DefaultInfo{Name: "nestling:admin"}, true},
		"a user of the tenant's":              {user.DefaultInfo{Name: "jane@example.org"}, true},
		"a ServiceAccount's token of a CI":    {user.DefaultInfo{Name: "system:serviceaccount:ci:deployer"}, true},
		"a pod's own token":                   {user.DefaultInfo{Name: "system:serviceaccount:ci:deployer", Extra: pod}, false},
		"a controller of the control plane's": {user.DefaultInfo{Name: "system:serviceaccount:kube-system:namespace-controller"}, false},
		"another of them":                     {user.DefaultInfo{Name: "system:serviceaccount:kube-system:validatingadmissionpolicy-status-controller"}, false},
		"an account of a controller's name":   {user.DefaultInfo{Name: "system:serviceaccount:ci:namespace-controller"}, true},
		"another account beside them":         {user.DefaultInfo{Name: "system:serviceaccount:kube-system:deployer"}, true},
		"the API server":                      {user.DefaultInfo{Name: "system:apiserver"}, false},
		"the controller manager":              {user.DefaultInfo{Name: "system:kube-controller-manager"}, false},
		"the syncer":                          {user.DefaultInfo{Name: "nestling:syncer"}, false},
		"a kubelet's probe":                   {user.DefaultInfo{Name: "system:anonymous"}, false},
	} {
		require.Equal(t, test.want, counts(&test.who), name)
	}
}

func TestAnOpenRequestIsAUse(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	tracker := New(func() time.Time { return now })
	serve := func(who string, while func()) {
		r := httptest.NewRequest(http.MethodGet, "/api", nil)
		r = r.WithContext(request.WithUser(r.Context(), &user.DefaultInfo{Name: who}))
		tracker.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { while() })).ServeHTTP(httptest.NewRecorder(), r)
	}
	later := func(d time.Duration) { now = now.Add(d) }

	require.Equal(t, now, tracker.Last(), "the start is one")
	begin := now
	later(time.Minute)
	serve("nestling:syncer", func() {})
	require.Equal(t, begin, tracker.Last())
	serve("jane", func() {
		later(time.Hour)
		require.Equal(t, now, tracker.Last())
	})
	ended := now
	later(time.Minute)
	require.Equal(t, ended, tracker.Last())
}
