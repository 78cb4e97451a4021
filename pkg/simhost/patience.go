package simhost

import (
	"net/http"
	"time"
)

// patience repeats a request for as long as no answer comes. KWOK gives up a
// write on most network errors, and would never try again before the pod
// changes; a kubelet does try. Its writes can all be repeated: they are patches
// that say the same each time, and deletes.
type patience struct{ next http.RoundTripper }

// patienceDelay between two tries of a request.
const patienceDelay = 200 * time.Millisecond

func (p patience) RoundTrip(request *http.Request) (*http.Response, error) {
	for {
		response, err := p.next.RoundTrip(request)
		if err == nil || request.Context().Err() != nil {
			return response, err
		}
		if request.Body != nil && request.GetBody == nil {
			return nil, err
		}
		select {
		case <-request.Context().Done():
			return nil, err
		case <-time.After(patienceDelay):
		}
		request = request.Clone(request.Context())
		if request.GetBody == nil {
			continue
		}
		if request.Body, err = request.GetBody(); err != nil {
			return nil, err
		}
	}
}
