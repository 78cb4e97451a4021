package hostmetrics

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
)

// answers is a transport: a network has no place in a bubble.
type answers func(*http.Request) int

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	recorder.WriteHeader(a(r))
	return recorder.Result(), nil
}

func TestFollow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		codes := []int{http.StatusNotFound, http.StatusServiceUnavailable, http.StatusForbidden, http.StatusOK, http.StatusServiceUnavailable, http.StatusNotFound}
		var asked atomic.Int64
		host := &rest.Config{Host: "http://host", Transport: answers(func(r *http.Request) int {
			require.Equal(t, "/apis/metrics.k8s.io/v1beta1", r.URL.Path)
			n := int(asked.Add(1))
			if n == len(codes) {
				cancel()
			}
			return codes[n-1]
		})}
		var told []bool
		require.NoError(t, Follow(ctx, host, func(present bool) { told = append(told, present) }))
		require.Equal(t, []bool{false, true, false}, told, "nothing of a host that does not say")
	})
}
