package controlplane

import (
	"net/http"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/server/egressselector"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

const (
	egressFlag = "egress-selector-config-file"
	// egressConfiguration has upstream ask for a dialer wherever it can ask for one. With
	// none configured, it dials webhooks that are named by a URL without asking.
	egressConfiguration = `apiVersion: apiserver.k8s.io/v1beta1
kind: EgressSelectorConfiguration
egressSelections:
- {name: controlplane, connection: {proxyProtocol: Direct}}
- {name: cluster, connection: {proxyProtocol: Direct}}
`
)

// setOutbound puts our dialer in the place of those that the configuration made: upstream
// asks for them at each connection, but for the transport that its proxies share.
func setOutbound(config *app.Config, dial utilnet.DialFunc) {
	*config.KubeAPIs.ControlPlane.Generic.EgressSelector = *egressselector.NewEgressSelectorWithMap(map[egressselector.EgressType]utilnet.DialFunc{
		egressselector.ControlPlane: dial, // webhooks that a URL names
		egressselector.Cluster:      dial, // those that a Service names, and aggregated APIs
	})
	for _, transport := range []*http.Transport{config.KubeAPIs.ControlPlane.ProxyTransport, config.Aggregator.ExtraConfig.ProxyTransport} {
		transport.DialContext = dial // pods and Services by the API's proxies
	}
}
