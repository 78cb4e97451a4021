package kubeletapi

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

const (
	// hostDialTimeout bounds connecting to the host API, so that a user learns soon
	// that it cannot be reached.
	hostDialTimeout = 10 * time.Second
	// hostKeepAlive is between TCP probes: a host that vanished ends its streams.
	hostKeepAlive = 30 * time.Second
)

// hostAPI asks the host API for pod subresources, with this cluster's credentials.
type hostAPI struct {
	pods      rest.Interface // makes URLs only
	transport http.RoundTripper
}

// newHostAPI has connections of its own, apart from the syncer's, and HTTP/1.1 only:
// HTTP/2 knows no upgrade, and one connection per stream means that a slow reader of
// logs holds up nobody else. The transport adds the credentials to every request,
// upgrades included, and renews them.
func newHostAPI(config *rest.Config) (*hostAPI, error) {
	own := rest.CopyConfig(config)
	own.Timeout = 0 // streams have no end
	own.DisableCompression = true
	own.TLSClientConfig.NextProtos = []string{"http/1.1"}
	if own.Dial == nil { // also keeps client-go from sharing the transport
		own.Dial = (&net.Dialer{Timeout: hostDialTimeout, KeepAlive: hostKeepAlive}).DialContext
	}
	transport, err := rest.TransportFor(own)
	if err != nil {
		return nil, fmt.Errorf("kubelet API: connect to the host: %w", err)
	}
	client, err := corev1client.NewForConfigAndClient(own, &http.Client{Transport: transport})
	if err != nil {
		return nil, fmt.Errorf("kubelet API: connect to the host: %w", err)
	}
	return &hostAPI{pods: client.RESTClient(), transport: transport}, nil
}

// request asks for a subresource of the target. Headers are for the caller to set.
func (h *hostAPI) request(ctx context.Context, method string, target Target, subresource string, options runtime.Object) (*http.Request, error) {
	location, err := h.url(target, subresource, options)
	if err != nil {
		return nil, err
	}
	return http.NewRequestWithContext(ctx, method, location.String(), nil)
}

func (h *hostAPI) url(target Target, subresource string, options runtime.Object) (*url.URL, error) {
	request := h.pods.Get().Namespace(target.Namespace).Resource("pods").Name(target.Name).
		SubResource(subresource).VersionedParams(options, scheme.ParameterCodec)
	if err := request.Error(); err != nil {
		return nil, fmt.Errorf("address the host pod: %w", err)
	}
	return request.URL(), nil
}

// close ends the connections that are in no request.
func (h *hostAPI) close() { utilnet.CloseIdleConnectionsFor(h.transport) }
