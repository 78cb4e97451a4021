package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/fleet"
	"nestling.dev/nestling/pkg/version"
)

// hostFlags say which host, and where on it.
type hostFlags struct {
	kubeconfig, context, namespace string
}

func addHostFlags(flags *pflag.FlagSet) *hostFlags {
	h := &hostFlags{}
	flags.StringVar(&h.kubeconfig, "host-kubeconfig", "", "kubeconfig of the host (default $KUBECONFIG, ~/.kube/config, or the pod's ServiceAccount)")
	flags.StringVar(&h.context, "host-context", "", "context of that kubeconfig (default its current one)")
	flags.StringVarP(&h.namespace, "namespace", "n", "", `host namespace of the tenant (default the context's, or "default")`)
	return h
}

// repeat is what another command has to be given to mean the same.
func (h *hostFlags) repeat(namespace string) string {
	out := " -n " + namespace
	if h.kubeconfig != "" {
		out += " --host-kubeconfig " + quote(h.kubeconfig)
	}
	if h.context != "" {
		out += " --host-context " + quote(h.context)
	}
	return out
}

// connect returns the host and the namespace. It does not reach out yet.
func (h *hostFlags) connect() (*rest.Config, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = h.kubeconfig
	rules.WarnIfAllMissing = false
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: h.context})
	raw, err := loader.RawConfig()
	if err != nil {
		return nil, "", &usageError{fmt.Errorf("host kubeconfig: %w", err)}
	}
	if h.context != "" && raw.Contexts[h.context] == nil {
		return nil, "", &usageError{fmt.Errorf("--host-context: the kubeconfig has no context %q", h.context)}
	}
	if tenant := tenantOf(raw, h.context); tenant != "" {
		return nil, "", &usageError{fmt.Errorf("the kubeconfig in use is that of tenant %q, not of a host: give --host-kubeconfig, or unset KUBECONFIG", tenant)}
	}
	host, err := loader.ClientConfig()
	switch {
	case clientcmd.IsEmptyConfig(err), errors.Is(err, rest.ErrNotInCluster):
		return nil, "", &usageError{errors.New("no kubeconfig of a host: give --host-kubeconfig, set KUBECONFIG, or run in a pod of the host")}
	case err != nil:
		return nil, "", &usageError{fmt.Errorf("host kubeconfig: %w", err)}
	}
	namespace := h.namespace
	if namespace == "" {
		if namespace, _, err = loader.Namespace(); err != nil {
			return nil, "", &usageError{fmt.Errorf("host kubeconfig: %w", err)}
		}
	}
	if detail := config.ValidateNamespace(namespace); detail != "" {
		return nil, "", &usageError{fmt.Errorf("--namespace: %s", detail)}
	}
	host.UserAgent = version.UserAgent("cli")
	host.WarningHandler = rest.NoWarnings{} // they are about what we apply, which the user did not write
	host.QPS = -1                           // the host's own fairness is the limit
	return host, namespace, nil
}

// fleet connects to the tenants of the host.
func (h *hostFlags) fleet() (*fleet.Fleet, string, error) {
	host, namespace, err := h.connect()
	if err != nil {
		return nil, "", err
	}
	f, err := fleet.New(host)
	return f, namespace, err
}

// tenantOf recognizes the kubeconfig of a tenant where one of a host should be: whoever has just made a tenant has most
// likely exported it.
func tenantOf(raw clientcmdapi.Config, name string) string {
	if name == "" {
		name = raw.CurrentContext
	}
	current := raw.Contexts[name]
	if current == nil {
		return ""
	}
	if whose, ok := fleet.OwnerOf(&raw); ok {
		tenant, _, _ := strings.Cut(whose, "/")
		return tenant
	}
	if current.AuthInfo == "nestling:admin" {
		return current.Cluster
	}
	return ""
}

// nameArg checks the NAME of a tenant.
func nameArg(args []string) (string, error) {
	if detail := config.ValidateTenant(args[0]); detail != "" {
		return "", &usageError{fmt.Errorf("NAME: %s", detail)}
	}
	return args[0], nil
}

// checkTimeout refuses one that would give up before anything was tried.
func checkTimeout(timeout time.Duration) error {
	if timeout <= 0 {
		return &usageError{fmt.Errorf("--timeout: %s is not above 0", timeout)}
	}
	return nil
}
