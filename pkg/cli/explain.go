package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"nestling.dev/nestling/pkg/controlplane/explanation"
	"nestling.dev/nestling/pkg/version"
)

func newExplainCommand() *cobra.Command {
	var tenant *tenantFlags
	var output string
	command := &cobra.Command{
		Use:   "explain KIND/NAME",
		Short: "Tell what became of an object of a tenant on the host",
		Long: `Tell what became of an object of a tenant on the host: what it is there, what was changed on the way and why, what
the host answered, what came back, and what it is stuck on. Who may read the object may ask.

The kubeconfig is the tenant's. An object that is stuck is no failure of this command: it ends with 0 then, too.
The same as an object of the API: kubectl get explanation pods:web -o yaml, and clusterexplanation nodes:node-1.`,
		Example: `  nestling explain pod/web -n shop
  nestling explain deploy/web -o yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			kind, name, ok := strings.Cut(args[0], "/")
			if !ok || kind == "" || len(path.IsValidPathSegmentName(name)) > 0 || name == "" {
				return &usageError{fmt.Errorf("KIND/NAME: %q is not like pod/web", args[0])}
			}
			switch output {
			case "", "json", "yaml":
			default:
				return &usageError{fmt.Errorf("--output: %q is not json or yaml", output)}
			}
			config, namespace, err := tenant.connect()
			if err != nil {
				return err
			}
			content, err := askExplanation(command.Context(), config, kind, namespace, name)
			if err != nil {
				return err
			}
			return printExplanation(command.OutOrStdout(), content, output, time.Now())
		},
	}
	tenant = addTenantFlags(command.Flags())
	command.Flags().StringVarP(&output, "output", "o", "", "json or yaml; empty is for people")
	return command
}

// tenantFlags say which tenant, and where in it.
type tenantFlags struct {
	kubeconfig, context, namespace string
}

func addTenantFlags(flags *pflag.FlagSet) *tenantFlags {
	t := &tenantFlags{}
	flags.StringVar(&t.kubeconfig, "kubeconfig", "", "kubeconfig of the tenant (default $KUBECONFIG or ~/.kube/config)")
	flags.StringVar(&t.context, "context", "", "context of that kubeconfig (default its current one)")
	flags.StringVarP(&t.namespace, "namespace", "n", "", `namespace in the tenant (default the context's, or "default")`)
	return t
}

// connect returns the tenant and the namespace. It does not reach out yet.
func (t *tenantFlags) connect() (*rest.Config, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = t.kubeconfig
	rules.WarnIfAllMissing = false
	overrides := &clientcmd.ConfigOverrides{CurrentContext: t.context}
	overrides.Context.Namespace = t.namespace
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	raw, err := loader.RawConfig()
	switch {
	case err != nil:
		return nil, "", &usageError{fmt.Errorf("--kubeconfig: %w", err)}
	case t.context != "" && raw.Contexts[t.context] == nil:
		return nil, "", &usageError{fmt.Errorf("--context: the kubeconfig has no context %q", t.context)}
	case len(raw.Clusters) == 0:
		return nil, "", &usageError{errors.New("no kubeconfig of a tenant: give --kubeconfig, or set KUBECONFIG")}
	}
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, "", &usageError{fmt.Errorf("--kubeconfig: %w", err)}
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, "", &usageError{fmt.Errorf("--kubeconfig: %w", err)}
	}
	if len(path.IsValidPathSegmentName(namespace)) > 0 {
		return nil, "", &usageError{fmt.Errorf("--namespace: %q is not a name", namespace)}
	}
	config.UserAgent = version.UserAgent("cli")
	config.QPS = -1 // the tenant's own fairness is the limit
	return config, namespace, nil
}

// askExplanation is what the tenant's API says of an object, as JSON.
func askExplanation(ctx context.Context, config *rest.Config, kind, namespace, name string) ([]byte, error) {
	discover, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, &usageError{fmt.Errorf("--kubeconfig: %w", err)}
	}
	mapping, err := mappingOf(discover, kind)
	if err != nil {
		return nil, err
	}
	request := discover.RESTClient().Get().AbsPath("/apis", explanation.SchemeGroupVersion.Group, explanation.SchemeGroupVersion.Version)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		request = request.Suffix("namespaces", namespace, explanation.Namespaced)
	} else {
		request = request.Suffix(explanation.Cluster)
	}
	gr := mapping.Resource.GroupResource()
	answer := request.Suffix(explanation.Name(gr, name)).Do(ctx)
	err = answer.Error() // Raw leaves the server's words out
	var status apierrors.APIStatus
	if apierrors.IsNotFound(err) && errors.As(err, &status) && (status.Status().Details == nil || status.Status().Details.Name == "") {
		return nil, errors.New("this cluster does not explain: it is not a nestling, or one of before this version")
	}
	if err != nil && !errors.As(err, &status) {
		return nil, fmt.Errorf("ask %s to explain %s %s: %w", config.Host, gr, name, err)
	}
	if err != nil {
		return nil, err
	}
	return answer.Raw()
}

// mappingOf understands kinds in all of kubectl's spellings: po, pods, Pod, deploy.apps,
// deployments.v1.apps.
func mappingOf(discover discovery.DiscoveryInterface, kind string) (*meta.RESTMapping, error) {
	cached := memory.NewMemCacheClient(discover)
	mapper := restmapper.NewShortcutExpander(restmapper.NewDeferredDiscoveryRESTMapper(cached), cached, func(string) {})
	if _, err := cached.ServerGroups(); err != nil {
		return nil, fmt.Errorf("ask the tenant what it serves: %w", err)
	}
	full, gr := schema.ParseResourceArg(kind)
	gvk := schema.GroupVersionKind{}
	if full != nil {
		gvk, _ = mapper.KindFor(*full)
	}
	if gvk.Empty() {
		gvk, _ = mapper.KindFor(gr.WithVersion(""))
	}
	if !gvk.Empty() {
		return mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	}
	fullKind, gk := schema.ParseKindArg(kind)
	if fullKind != nil {
		if mapping, err := mapper.RESTMapping(fullKind.GroupKind(), fullKind.Version); err == nil {
			return mapping, nil
		}
	}
	mapping, err := mapper.RESTMapping(gk)
	if meta.IsNoMatchError(err) {
		return nil, &usageError{fmt.Errorf("KIND/NAME: the tenant serves no %q", kind)}
	}
	return mapping, err
}

func printExplanation(w io.Writer, content []byte, output string, now time.Time) error {
	switch output {
	case "json":
		var any any
		if err := json.Unmarshal(content, &any); err != nil {
			return fmt.Errorf("read the explanation: %w", err)
		}
		indented, err := json.MarshalIndent(any, "", "    ")
		if err == nil {
			_, err = fmt.Fprintln(w, string(indented))
		}
		return err
	case "yaml":
		out, err := yaml.JSONToYAML(content)
		if err == nil {
			_, err = w.Write(out)
		}
		return err
	}
	var explained explanation.Explanation
	if err := json.Unmarshal(content, &explained); err != nil {
		return fmt.Errorf("read the explanation: %w", err)
	}
	_, err := io.WriteString(w, explanationText(explained.Explanation, now))
	return err
}
