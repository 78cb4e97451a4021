package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/util/validation"
	strictjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Kubeconfig is a Secret on the host with access to the tenant's API, kept up to date like the administrator's. In
// another namespace than the tenant's, the manifests make the Secret and the right to write that one.
type Kubeconfig struct {
	Secret ObjectRef `json:"secret,omitzero"`
	// Format is kubeconfig if empty.
	Format KubeconfigFormat `json:"format,omitempty"`
	// ClusterName is the tenant's name to the reader; empty is the tenant's name.
	ClusterName string `json:"clusterName,omitempty"`
	// InCluster gives the URL inside the host cluster, whatever the exposure is: for readers that run there.
	InCluster bool `json:"inCluster,omitempty"`

	// ServiceAccount is one of the tenant's, made if it is not there. The Secret has a token of it that lives for a
	// day and ends with the ServiceAccount, so it is for programs that read the Secret again when it changes.
	ServiceAccount *ObjectRef `json:"serviceAccount,omitempty"`
	// User and Groups get a client certificate that lives for 90 days. Nobody can revoke it; its roles can go.
	User   string   `json:"user,omitempty"`
	Groups []string `json:"groups,omitempty"`
	// With neither, the Secret is for the tenant's administrator.

	// ClusterRole is granted in the whole tenant, or only in Namespaces of it; Role is one of each of Namespaces.
	// The bindings are made, kept, and removed with this entry.
	ClusterRole string   `json:"clusterRole,omitempty"`
	Role        string   `json:"role,omitempty"`
	Namespaces  []string `json:"namespaces,omitempty"`
}

// ObjectRef names an object in a namespace.
type ObjectRef struct {
	// Namespace of a Secret is the tenant's host namespace if empty; that of a ServiceAccount is kube-system.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
}

// KubeconfigFormat is how a Secret says it.
type KubeconfigFormat string

const (
	// FormatKubeconfig is a file under the key `config`.
	FormatKubeconfig KubeconfigFormat = "kubeconfig"
	// FormatArgoCD is a cluster of Argo CD: name, server and config, with its label.
	FormatArgoCD KubeconfigFormat = "argocd"
	// FormatFlux is a file under the key `value`, as Flux's spec.kubeConfig.secretRef wants it.
	FormatFlux KubeconfigFormat = "flux"
)

// complete fills in what is left open.
func (k Kubeconfig) complete(tenant, namespace string) Kubeconfig {
	if k.Secret.Namespace == "" {
		k.Secret.Namespace = namespace
	}
	if k.Format == "" {
		k.Format = FormatKubeconfig
	}
	if k.ClusterName == "" {
		k.ClusterName = tenant
	}
	if k.ServiceAccount != nil && k.ServiceAccount.Namespace == "" {
		k.ServiceAccount = &ObjectRef{Namespace: "kube-system", Name: k.ServiceAccount.Name}
	}
	return k
}

// kubeconfigProblems are the first thing that is wrong with each.
func kubeconfigProblems(all []Kubeconfig, tenant, namespace string) []Problem {
	var problems []Problem
	seen := map[ObjectRef]int{}
	for i, k := range all {
		field, detail := k.validate()
		ref := k.Secret
		if ref.Namespace == "" {
			ref.Namespace = namespace
		}
		first, twice := seen[ref]
		switch {
		case detail != "":
		case twice:
			field, detail = "secret", fmt.Sprintf("%s/%s is that of kubeconfigs[%d] too", ref.Namespace, ref.Name, first)
		case ref.Namespace == namespace && slices.Contains([]string{tenant + "-kubeconfig", tenant + "-pki", tenant + "-metrics"}, ref.Name):
			field, detail = "secret.name", fmt.Sprintf("%q is the tenant's own", ref.Name)
		}
		seen[ref] = i
		if detail != "" {
			problems = append(problems, Problem{Field: fmt.Sprintf("kubeconfigs[%d].%s", i, field), Detail: detail})
		}
	}
	return problems
}

func (k Kubeconfig) validate() (field, detail string) {
	format := k.Format
	if format == "" {
		format = FormatKubeconfig
	}
	roles := k.ClusterRole != "" || k.Role != ""
	switch {
	case k.Secret.Name == "":
		return "secret.name", "is required"
	case len(validation.IsDNS1123Subdomain(k.Secret.Name)) > 0:
		return "secret.name", fmt.Sprintf("%q is not the name of a Secret", k.Secret.Name)
	case k.Secret.Namespace != "" && label(k.Secret.Namespace) != "":
		return "secret.namespace", label(k.Secret.Namespace)
	case oneOf(format, FormatKubeconfig, FormatArgoCD, FormatFlux) != "":
		return "format", oneOf(format, FormatKubeconfig, FormatArgoCD, FormatFlux)
	case k.ServiceAccount != nil && (k.User != "" || len(k.Groups) > 0):
		return "user", "cannot go together with serviceAccount"
	case k.ServiceAccount != nil && len(validation.IsDNS1123Subdomain(k.ServiceAccount.Name)) > 0:
		return "serviceAccount.name", fmt.Sprintf("%q is not the name of a ServiceAccount", k.ServiceAccount.Name)
	case k.ServiceAccount != nil && k.ServiceAccount.Namespace != "" && label(k.ServiceAccount.Namespace) != "":
		return "serviceAccount.namespace", label(k.ServiceAccount.Namespace)
	case len(k.Groups) > 0 && k.User == "":
		return "groups", "needs a user"
	case strings.HasPrefix(k.User, "system:"), strings.HasPrefix(k.User, "nestling:"):
		return "user", fmt.Sprintf("%q is Kubernetes's or ours: leave user out for the administrator", k.User)
	case roles && k.ServiceAccount == nil && k.User == "":
		return "clusterRole", "needs a serviceAccount or a user: the administrator may do everything"
	case k.ClusterRole != "" && k.Role != "":
		return "role", "cannot go together with clusterRole"
	case k.Role != "" && len(k.Namespaces) == 0:
		return "namespaces", "is required with role: where the Role is"
	case len(k.Namespaces) > 0 && !roles:
		return "namespaces", "needs a clusterRole or a role"
	}
	for _, group := range k.Groups {
		if group == "" || strings.HasPrefix(group, "system:") || strings.HasPrefix(group, "nestling:") {
			return "groups", fmt.Sprintf("%q is empty, Kubernetes's, or ours", group)
		}
	}
	for _, role := range []string{k.ClusterRole, k.Role} {
		if len(path.IsValidPathSegmentName(role)) > 0 {
			return "clusterRole", fmt.Sprintf("%q is not the name of a role", role)
		}
	}
	for _, namespace := range k.Namespaces {
		if label(namespace) != "" {
			return "namespaces", label(namespace)
		}
	}
	return "", ""
}

// flow is a flag in YAML, on one line or as JSON: for lists of mappings. It replaces what the file says.
type flow[T any] struct{ to *T }

func (f *flow[T]) String() string {
	if f.to == nil {
		return ""
	}
	out, err := json.Marshal(f.to)
	if err != nil || string(out) == "null" {
		return ""
	}
	return string(out)
}

func (f *flow[T]) Set(in string) error {
	raw, err := yaml.YAMLToJSONStrict([]byte(in))
	if err != nil {
		return fmt.Errorf("is no YAML: %s", strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: "), "\n", " "))
	}
	var out T
	strict, err := strictjson.UnmarshalStrict(raw, &out)
	if err == nil && len(strict) > 0 {
		err = strict[0]
	}
	if err != nil {
		return err
	}
	*f.to = out
	return nil
}

func (*flow[T]) Type() string { return "yaml" }
