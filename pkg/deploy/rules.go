package deploy

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
)

// HostResource is what the process does with one resource of the host. The lists below are all it may do.
type HostResource struct {
	Group    string
	Resource string
	Verbs    []string
	// Names narrows the rule to these objects.
	Names []string
}

// Verbs in the words of what they are for.
const (
	follow = "get list watch"                // an informer
	own    = follow + " create patch delete" // server-side apply needs create and patch
	stream = "get create"                    // WebSocket upgrades are gets, SPDY ones and their authorization are creates
)

// hostResources lists the tenant's own namespace.
func hostResources(namespace string) []HostResource {
	return []HostResource{
		{"", "pods", verbs(own), nil},
		{"", "pods/ephemeralcontainers", verbs("patch"), nil},
		{"", "pods/resize", verbs("patch"), nil},
		{"", "pods/status", verbs("patch"), nil}, // readiness gates flow from the virtual side
		{"", "pods/log", verbs("get"), nil},
		{"", "pods/attach", verbs(stream), nil},
		{"", "pods/exec", verbs(stream), nil},
		{"", "pods/portforward", verbs(stream), nil},
		{"", "services", verbs(own), nil},
		{"", "configmaps", verbs(own), nil},
		{"", "secrets", verbs(own), nil},
		{"", "events", verbs(follow), nil},
		{"", "namespaces", verbs("get"), []string{namespace}}, // to tell a missing namespace from a missing right
	}
}

// clusterResources lists what lies outside the namespace. All of it is read only, and all of it is optional.
func clusterResources() []HostResource {
	return []HostResource{
		{"", "nodes", verbs(follow), nil},
	}
}

// Rules are those of the Role: without them the process does not start.
func Rules(namespace string) []rbacv1.PolicyRule { return rulesOf(hostResources(namespace)) }

// ClusterRules are those of the ClusterRole: without them the tenant sees only the nodes that run its pods.
func ClusterRules() []rbacv1.PolicyRule { return rulesOf(clusterResources()) }

func verbs(list string) []string { return strings.Fields(list) }

// rulesOf makes one rule of all resources with the same group, verbs and names, in the order of the list.
func rulesOf(resources []HostResource) []rbacv1.PolicyRule {
	var rules []rbacv1.PolicyRule
	for _, r := range resources {
		i := slices.IndexFunc(rules, func(rule rbacv1.PolicyRule) bool {
			return rule.APIGroups[0] == r.Group && slices.Equal(rule.Verbs, r.Verbs) && slices.Equal(rule.ResourceNames, r.Names)
		})
		if i < 0 {
			rules = append(rules, rbacv1.PolicyRule{
				APIGroups: []string{r.Group}, Resources: []string{r.Resource}, ResourceNames: r.Names, Verbs: r.Verbs,
			})
			continue
		}
		rules[i].Resources = append(rules[i].Resources, r.Resource)
	}
	return rules
}
