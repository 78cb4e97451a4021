package kubeletapi

import (
	"io"
	"net/http"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/klog/v2"
)

// logs passes the host's log of a container on, byte by byte as it comes.
func (h *handler) logs(w http.ResponseWriter, r *http.Request, found call, options runtime.Object) {
	request, err := h.host.request(r.Context(), http.MethodGet, found.target, subresource[found.action], options)
	if err != nil {
		refuseUnreachable(w, r, found, err)
		return
	}
	answer, err := h.host.transport.RoundTrip(request)
	if err != nil {
		refuseUnreachable(w, r, found, err)
		return
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		refuseAs(w, found, answer)
		return
	}

	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	controller := http.NewResponseController(w)
	err = controller.Flush() // whoever follows a silent container has an answer
	if err == nil {
		_, err = io.Copy(flushing{w, controller}, answer.Body)
	}
	if err != nil {
		klog.FromContext(r.Context()).V(4).Info("Log stream ended early", "pod", klog.KRef(found.namespace, found.pod), "reason", err.Error())
		panic(http.ErrAbortHandler) // or a broken log would look like a whole one
	}
}

// flushing sends every piece at once: someone may be following the log.
type flushing struct {
	io.Writer
	controller *http.ResponseController
}

func (f flushing) Write(piece []byte) (int, error) {
	n, err := f.Writer.Write(piece)
	if err != nil {
		return n, err
	}
	return n, f.controller.Flush()
}
