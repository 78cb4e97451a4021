package kubeletapi

import (
	"io"
	"net/http"
	"strconv"

	"k8s.io/klog/v2"

	"nestling.dev/nestling/pkg/controlplane/hosttext"
)

// maxRefusalBytes bounds what is read of an answer of the host that is no success.
const maxRefusalBytes = 64 << 10

// acceptedProtocols is where a server lists the stream protocols that it would have
// accepted; clients show it.
const acceptedProtocols = "X-Accepted-Stream-Protocol-Versions"

// refuse answers in kubelet's manner: the sentence and nothing else.
func refuse(w http.ResponseWriter, code int, sentence string) {
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Length", strconv.Itoa(len(sentence)))
	w.WriteHeader(code)
	_, _ = io.WriteString(w, sentence) // a client that has gone needs no answer
}

// refuseAs passes an answer of the host on that is no success, in the tenant's names.
func refuseAs(w http.ResponseWriter, found call, answer *http.Response) {
	// What cannot be read of the body is missing in the sentence, no more.
	body, _ := io.ReadAll(io.LimitReader(answer.Body, maxRefusalBytes))
	if answer.StatusCode < http.StatusBadRequest {
		refuse(w, http.StatusBadGateway, "unexpected answer of the host: "+strconv.Itoa(answer.StatusCode))
		return
	}
	status := found.names.Status(hosttext.ParseStatus(answer.StatusCode, body))
	for _, key := range []string{acceptedProtocols, "Retry-After"} {
		for _, value := range answer.Header.Values(key) {
			w.Header().Add(key, value)
		}
	}
	code := int(status.Code)
	if code < http.StatusBadRequest || code > 599 {
		code = answer.StatusCode
	}
	refuse(w, code, status.Message)
}

// refuseUnreachable tells that the host did not answer. The code is 500 because the
// API server keeps the sentence of a 500 and replaces that of a 503.
func refuseUnreachable(w http.ResponseWriter, r *http.Request, found call, err error) {
	if r.Context().Err() != nil {
		return // the client has gone, or the server stops
	}
	klog.FromContext(r.Context()).Error(err, "Host API does not answer", "pod", klog.KRef(found.namespace, found.pod), "action", found.action)
	refuse(w, http.StatusInternalServerError, hosttext.Unreachable)
}
