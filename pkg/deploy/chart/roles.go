package chart

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	"nestling.dev/nestling/pkg/config"
	"nestling.dev/nestling/pkg/deploy"
)

// condition is something in the configuration that decides on rights.
type condition struct {
	// holds is the condition in a template, where $config is the configuration.
	holds string
	apply func(*config.Config)
}

func conditions() []condition {
	out := []condition{
		{`dig "sync" "serviceAccounts" false $config`, func(c *config.Config) { c.Sync.ServiceAccounts = true }},
		{`eq (dig "sync" "configMaps" "" $config) "all"`, func(c *config.Config) { c.Sync.ConfigMaps = config.SelectAll }},
		{`eq (dig "sync" "secrets" "" $config) "all"`, func(c *config.Config) { c.Sync.Secrets = config.SelectAll }},
		{`eq (dig "nodes" "mirror" "" $config) "used"`, func(c *config.Config) { c.Nodes.Mirror = config.MirrorUsed }},
	}
	for _, plural := range config.CanDisable() {
		out = append(out, condition{fmt.Sprintf(`has %q (dig "sync" "disabled" list $config)`, plural),
			func(c *config.Config) { c.Sync.Disabled = append(c.Sync.Disabled, plural) }})
	}
	return out
}

// namespaceHere stands for the release's namespace.
const namespaceHere = "NAMESPACE"

// roleTemplates define nestling.role.rules and nestling.clusterRole.rules.
func roleTemplates() (string, error) {
	out := "{{- /* " + generated + " */ -}}\n"
	for _, role := range []struct {
		name      string
		resources func(*config.Config) []deploy.HostResource
	}{
		{"role", func(c *config.Config) []deploy.HostResource {
			return deploy.RoleResources(namespaceHere, deploy.SyncOptions(c))
		}},
		{"clusterRole", func(c *config.Config) []deploy.HostResource {
			return deploy.ClusterRoleResources(deploy.SyncOptions(c))
		}},
	} {
		body, err := roleTemplate(role.resources)
		if err != nil {
			return "", fmt.Errorf("rules of the %s: %w", role.name, err)
		}
		out += fmt.Sprintf(`
{{- define "nestling.%s.rules" -}}
{{- $config := include "nestling.config" . | fromYaml -}}
{{- $resources := list -}}
%s{{- include "nestling.policyRules" $resources -}}
{{- end -}}
`, role.name, body)
	}
	more, err := kubeconfigsTemplate()
	return out + more, err
}

// kubeconfigsTemplate defines nestling.kubeconfigs.rules, of the Role in another namespace: its argument is the root, and
// the names of the Secrets there.
func kubeconfigsTemplate() (string, error) {
	const elsewhere, secret = "elsewhere", "secret"
	o := deploy.Default()
	o.Tenant, o.Namespace = "tenant", "namespace"
	o.Config.Kubeconfigs = []config.Kubeconfig{{Secret: config.ObjectRef{Namespace: elsewhere, Name: secret}}}
	objects, err := deploy.Objects(o)
	if err != nil {
		return "", err
	}
	for _, object := range objects {
		role, ok := object.(*rbacv1.Role)
		if !ok || role.Namespace != elsewhere {
			continue
		}
		out := "\n{{- define \"nestling.kubeconfigs.rules\" -}}\n{{- $names := index . 1 -}}\n{{- $root := index . 0 -}}\n{{- $rules := list -}}\n"
		for _, rule := range role.Rules {
			names := list(rule.ResourceNames)
			switch rule.ResourceNames[0] {
			case secret:
				names = "$names"
			case role.Name:
				names = `(list (include "nestling.clusterRole" $root))`
			}
			out += fmt.Sprintf("{{- $rules = append $rules (dict %q %s %q %s %q %s %q %s) -}}\n", "apiGroups", list(rule.APIGroups),
				"resources", list(rule.Resources), "resourceNames", names, "verbs", list(rule.Verbs))
		}
		return out + "{{- toYaml $rules -}}\n{{- end -}}\n", nil
	}
	return "", errors.New("there is no Role for kubeconfigs in other namespaces")
}

// roleTemplate finds, for each resource, the conditions that bring or take it, by trying each alone. The test of the
// chart tries them together.
func roleTemplate(of func(*config.Config) []deploy.HostResource) (string, error) {
	plain := of(&config.Config{})
	with := map[string][]deploy.HostResource{}
	everything := &config.Config{} // but for what takes rights away
	for _, condition := range conditions() {
		alone := &config.Config{}
		condition.apply(alone)
		with[condition.holds] = of(alone)
		if len(with[condition.holds]) >= len(plain) {
			condition.apply(everything)
		}
	}
	var out strings.Builder
	all := of(everything)
	for _, resource := range all {
		var bring, take []string
		for _, condition := range conditions() {
			switch there := contains(with[condition.holds], resource); {
			case there && !contains(plain, resource):
				bring = append(bring, condition.holds)
			case !there && contains(plain, resource):
				take = append(take, condition.holds)
			}
		}
		line := fmt.Sprintf("{{- $resources = append $resources (dict %q %q %q %q %q %s %q %s) -}}", "group", resource.Group,
			"resource", resource.Resource, "verbs", list(resource.Verbs), "names", list(resource.Names))
		if when := expression(bring, take); when != "" {
			line = "{{- if " + when + " -}}" + line + "{{- end -}}"
		}
		out.WriteString(line + "\n")
	}
	for _, resources := range append([][]deploy.HostResource{plain}, slices.Collect(maps.Values(with))...) {
		for _, resource := range resources {
			if !contains(all, resource) {
				return "", fmt.Errorf("%s of group %q comes by something that takes other rights away", resource.Resource, resource.Group)
			}
		}
	}
	return out.String(), nil
}

func contains(list []deploy.HostResource, one deploy.HostResource) bool {
	return slices.ContainsFunc(list, func(other deploy.HostResource) bool { return reflect.DeepEqual(one, other) })
}

// list is a list in a template.
func list(items []string) string {
	out := "(list"
	for _, item := range items {
		if item == namespaceHere {
			out += " $.Release.Namespace"
			continue
		}
		out += fmt.Sprintf(" %q", item)
	}
	return out + ")"
}

// expression holds where one of bring does, if there are any, and none of take.
func expression(bring, take []string) string {
	anyOf := func(conditions []string) string {
		if len(conditions) == 1 {
			return "(" + conditions[0] + ")"
		}
		return "(or (" + strings.Join(conditions, ") (") + "))"
	}
	switch {
	case len(bring) > 0 && len(take) > 0:
		return "and " + anyOf(bring) + " (not " + anyOf(take) + ")"
	case len(bring) > 0:
		return anyOf(bring)
	case len(take) > 0:
		return "not " + anyOf(take)
	}
	return ""
}
