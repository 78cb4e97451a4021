package entry

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/pkg/tunnel"
)

// probeTimeout is for an address that swallows what is sent to it, as a firewall does. Those that answer do so in
// milliseconds, and those that do not exist fail at once.
const probeTimeout = 2 * time.Second

// Options say into which tenant.
type Options struct {
	// Host reaches the host's API server.
	Host              *rest.Config
	Tenant, Namespace string
	// Kubeconfig is the one that the host keeps, parsed.
	Kubeconfig *Kubeconfig
	// Tunnel takes the tunnel even if the tenant's own address answers.
	Tunnel bool
	// Report takes what a tunnel has to say.
	Report func(line string)
}

// Entry is an open way.
type Entry struct {
	// Kubeconfig works as long as the way is open.
	Kubeconfig []byte
	// Tunnel is the local address of the tunnel; empty: there is none, and nothing to keep open.
	Tunnel string
	tunnel *tunnel.Tunnel
}

// Open finds a way into a tenant that serves. It takes the tenant's own address only if a server answers there that
// proves to be the tenant's.
func Open(ctx context.Context, o Options) (*Entry, error) {
	if !o.Tunnel {
		content, err := o.Kubeconfig.Direct()
		if err != nil {
			return nil, err
		}
		if answers(ctx, content) {
			return &Entry{Kubeconfig: content}, nil
		}
	}
	client, err := kubernetes.NewForConfig(o.Host)
	if err != nil {
		return nil, fmt.Errorf("client of the host: %w", err)
	}
	open, err := tunnel.Open(tunnel.Options{
		Host: o.Host, Namespace: o.Namespace, Port: deploy.Port,
		Pod:    tunnel.ControlPlane(client, o.Namespace, deploy.ControlPlaneLabel, o.Tenant),
		Report: o.Report,
	})
	if err != nil {
		return nil, err
	}
	content, err := o.Kubeconfig.Via(open.Address())
	if err != nil {
		_ = open.Close()
		return nil, err
	}
	return &Entry{Kubeconfig: content, Tunnel: open.Address(), tunnel: open}, nil
}

// Close ends the tunnel, if there is one.
func (a *Entry) Close() error {
	if a.tunnel == nil {
		return nil
	}
	return a.tunnel.Close()
}

// answers says whether the server of a kubeconfig answers from here, with a certificate of the tenant's authority. It
// shows no credentials. Any answer will do: the tenant may not let strangers see its version.
func answers(ctx context.Context, kubeconfig []byte) bool {
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return false
	}
	config = rest.AnonymousClientConfig(config)
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return false
	}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, config.Host+"/version", nil)
	if err != nil {
		return false
	}
	answer, err := client.Do(request)
	if err != nil {
		return false
	}
	return answer.Body.Close() == nil
}
