package hostclient

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"nestling.dev/nestling/pkg/version"
)

// Options say which host, and for whom.
type Options struct {
	// Kubeconfig reaches the host from outside; empty means in cluster.
	Kubeconfig string
	// Tenant is in the user agent, so that the host's audit log tells tenants apart.
	Tenant string
}

// New returns the configuration of all clients of the host. It has no client-side rate limit: the host's own priority
// and fairness is the one place that knows how much is too much. It does not connect.
func New(o Options) (*rest.Config, error) {
	host, err := load(o.Kubeconfig)
	if err != nil {
		return nil, err
	}
	host.UserAgent = version.UserAgent(o.Tenant)
	host.QPS = -1 // no limiter; 0 would be client-go's default of 5 a second
	host.Burst = 0
	return host, nil
}

func load(kubeconfig string) (*rest.Config, error) {
	if kubeconfig != "" {
		host, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
		if err != nil {
			return nil, fmt.Errorf("kubeconfig %s: %w", kubeconfig, err)
		}
		return host, nil
	}
	host, err := rest.InClusterConfig()
	switch {
	case errors.Is(err, rest.ErrNotInCluster):
		return nil, errors.New("not in a pod, and no kubeconfig given: set host.kubeconfig (--host-kubeconfig)")
	case err != nil:
		return nil, fmt.Errorf("this pod's ServiceAccount token: %w (is automountServiceAccountToken off?)", err)
	}
	return host, nil
}

// checkTimeout bounds one request of a check; a host that takes longer is as good as unreachable.
const checkTimeout = 10 * time.Second
