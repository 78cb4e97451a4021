package kubeletapi

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"
	"k8s.io/streaming/pkg/httpstream/wsstream"

	"nestling.dev/nestling/pkg/controlplane/hosttext"
)

// handler answers requests of the kubelet API. Its refusals are plain text, as
// kubelet's are: the API server wraps them.
type handler struct {
	host       *hostAPI
	resolver   Resolver
	clientName string
	places     chan struct{} // one is taken by each open request

	upgradeTimeout time.Duration
}

// call is a request that has passed all checks.
type call struct {
	route
	target Target
	names  hosttext.Names
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if code, problem := h.authenticate(r); code != 0 {
		refuse(w, code, problem)
		return
	}
	asked, ok := parseRoute(r.URL)
	if !ok {
		refuse(w, http.StatusNotFound, "404 page not found")
		return
	}
	if !allowed(asked.action, r.Method) {
		refuse(w, http.StatusMethodNotAllowed, "405: Method Not Allowed")
		return
	}
	if asked.action == actionHealth {
		refuse(w, http.StatusOK, "ok")
		return
	}
	select {
	case h.places <- struct{}{}:
		defer func() { <-h.places }()
	default:
		refuse(w, http.StatusTooManyRequests, fmt.Sprintf("%d streams are open already, which is the limit of this cluster", cap(h.places)))
		return
	}
	h.forward(w, r, asked)
}

// authenticate lets only the API server in. TLS has checked that a certificate, if
// there is one, is signed by the client CA, is in time and is for clients.
func (h *handler) authenticate(r *http.Request) (code int, problem string) {
	switch {
	case r.TLS == nil || len(r.TLS.VerifiedChains) == 0:
		return http.StatusUnauthorized, "Unauthorized"
	case r.TLS.VerifiedChains[0][0].Subject.CommonName != h.clientName:
		return http.StatusForbidden, "Forbidden: only the API server may ask"
	}
	return 0, ""
}

// allowed are the methods of an action. Upgrades are GET for browsers, else POST.
func allowed(asked action, method string) bool {
	switch asked {
	case actionExec, actionAttach, actionPortForward:
		return method == http.MethodGet || method == http.MethodPost
	}
	return method == http.MethodGet
}

func (h *handler) forward(w http.ResponseWriter, r *http.Request, asked route) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		refuse(w, http.StatusBadRequest, "unable to parse the query")
		return
	}
	tunnel := !wsstream.IsWebSocketRequest(r) || wsstream.IsWebSocketRequestWithTunnelingProtocol(r)
	options, err := hostOptions(asked, query, tunnel)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}

	target, err := h.resolver.HostPod(asked.namespace, asked.pod)
	switch {
	case apierrors.IsNotFound(err):
		refuse(w, http.StatusNotFound, fmt.Sprintf("pod %q does not exist", asked.pod))
		return
	case err != nil:
		klog.FromContext(r.Context()).Error(err, "Find the host pod", "pod", klog.KRef(asked.namespace, asked.pod))
		refuse(w, http.StatusInternalServerError, fmt.Sprintf("unable to find pod %q on the host", asked.pod))
		return
	case asked.uid != "" && asked.uid != target.UID:
		refuse(w, http.StatusNotFound, fmt.Sprintf("pod %q does not exist", asked.pod))
		return
	case asked.action != actionPortForward && !target.has(asked.container):
		refuse(w, http.StatusNotFound, fmt.Sprintf("container %q not found in pod \"%s_%s\"", asked.container, asked.pod, asked.namespace))
		return
	}

	found := call{route: asked, target: target, names: hosttext.Names{
		{Host: target.Name, Virtual: asked.pod},
		{Host: target.Namespace, Virtual: asked.namespace},
	}}
	if asked.action == actionLogs {
		h.logs(w, r, found, options)
	} else {
		h.stream(w, r, found, options)
	}
}
