package controlplane

import (
	"context"
	"errors"
	"net"
	"net/http"

	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/pkg/pki"
)

// AdmissionPlugin is an admission plugin compiled into the API server.
type AdmissionPlugin struct {
	Name string
	New  admission.Factory
}

// APIServerOptions configure one API server.
type APIServerOptions struct {
	EtcdEndpoint string      // "unix://…" of the etcd member
	PKI          *pki.Bundle // identity of the cluster
	Dir          string      // certificates and keys are written here: mode 0700, files 0600

	BindAddress net.IP       // default 0.0.0.0
	Port        int          // default 8443
	Listener    net.Listener // instead of BindAddress and Port, if set; Run closes it

	// AdvertiseAddress and the port become the endpoints of default/kubernetes.
	AdvertiseAddress net.IP

	ServiceCIDR   string   // range of virtual ClusterIPs; default 10.0.0.0/16
	ServiceIP     net.IP   // of default/kubernetes; nil means the first of ServiceCIDR
	ClusterDomain string   // default cluster.local
	SANs          []string // more names and IPs of the serving certificate

	// Kubelet connects to the kubelet API of every node, whatever its address.
	// Nil dials the node's address, as upstream does.
	Kubelet func(ctx context.Context, network, address string) (net.Conn, error)

	// MutatingLast are admission plugins that run after all other mutating
	// ones, webhooks included, in this order.
	MutatingLast []AdmissionPlugin

	// ReadyChecks extend /readyz. They do not delay the component's own ready.
	ReadyChecks []healthz.HealthChecker

	// Metrics serves /metrics in place of upstream's handler, if set.
	Metrics http.Handler

	// ExtraArgs are flags of kube-apiserver by name, without dashes. They win
	// over everything that the other options say.
	ExtraArgs map[string]string
}

// APIServer is upstream's kube-apiserver as a component.
type APIServer struct{ opts APIServerOptions }

// NewAPIServer checks the options. Nothing is listened on or written before Run.
func NewAPIServer(opts APIServerOptions) (*APIServer, error) { return &APIServer{opts: opts}, nil }

// Name of the component.
func (s *APIServer) Name() string { return "apiserver" }

// Run serves until ctx ends.
func (s *APIServer) Run(ctx context.Context, ready func()) error {
	return errors.New("apiserver: not written yet")
}

// ClientConfig connects to this server as user, with a client certificate of
// its own. It can be called once the server is ready.
func (s *APIServer) ClientConfig(user string, groups ...string) (*rest.Config, error) {
	return nil, errors.New("apiserver: not written yet")
}

// LoopbackConfig connects as the API server itself: system:masters, and
// "system:apiserver" in the audit. For the API server's own plugins only.
func (s *APIServer) LoopbackConfig() *rest.Config { return nil }

// Port that it listens on, once ready.
func (s *APIServer) Port() int { return s.opts.Port }
