package deploy

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	"nestling.dev/nestling/syncer/resource"
	"nestling.dev/nestling/syncer/resources"
)

// HostResource is what the process does with one resource of the host.
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
	own    = follow + " create patch delete" // what the syncer makes it also changes and removes
	stream = "get create"                    // WebSocket upgrades are gets, SPDY ones and their authorization are creates
)

// hostResources lists the tenant's own namespace: the kinds that are synced, and what the process needs beyond them.
func hostResources(namespace string, sync resources.Options) []HostResource {
	return append(synced(sync, func(kind resource.Kind) bool { return inNamespace(kind) && !kind.Optional }),
		HostResource{"", "pods/ephemeralcontainers", verbs("patch"), nil},
		HostResource{"", "pods/resize", verbs("patch"), nil},
		HostResource{"", "pods/status", verbs("patch"), nil}, // readiness gates flow from the virtual side
		HostResource{"", "pods/log", verbs("get"), nil},
		HostResource{"", "pods/attach", verbs(stream), nil},
		HostResource{"", "pods/exec", verbs(stream), nil},
		HostResource{"", "pods/portforward", verbs(stream), nil},
		HostResource{"", "namespaces", verbs("get"), []string{namespace}}, // to tell a missing namespace from a missing right
	)
}

// optionalResources lists what lies in the namespace and can be done without, as where the host does not serve it.
func optionalResources(sync resources.Options) []HostResource {
	return append(synced(sync, func(kind resource.Kind) bool { return inNamespace(kind) && kind.Optional }),
		HostResource{"metrics.k8s.io", "pods", verbs("list"), nil}, // kubectl top, and autoscalers
		// Preflight: with what the quotas leave known, siblings share a dry run, and none is let pass that is one too many.
		HostResource{"", "resourcequotas", verbs(follow), nil},
	)
}

// clusterResources lists what lies outside the namespace. All of it is read only, and all of it is optional.
func clusterResources(sync resources.Options) []HostResource {
	return append(synced(sync, func(kind resource.Kind) bool { return !inNamespace(kind) }),
		HostResource{"metrics.k8s.io", "nodes", verbs("list"), nil}, // kubectl top nodes
		HostResource{"apiextensions.k8s.io", "customresourcedefinitions", verbs("get"), snapshotDefinitions()},
	)
}

// snapshotDefinitions are copied into tenants, so that they can take snapshots.
func snapshotDefinitions() []string {
	var names []string
	for _, kind := range resources.SnapshotResources() {
		names = append(names, kind.GroupResource().String())
	}
	return names
}

// inNamespace kinds are read in the tenant's host namespace only.
func inNamespace(kind resource.Kind) bool { return kind.Namespaced && kind.Everywhere == "" }

// synced is what the selected kinds of the syncer's registry need.
func synced(sync resources.Options, selected func(resource.Kind) bool) []HostResource {
	var out []HostResource
	for _, kind := range resources.Registry(sync) {
		if !selected(kind) || kind.Make != nil {
			continue
		}
		needed := map[resource.Direction]string{resource.ToHost: own, resource.FromHost: follow, resource.ReadOnly: ""}[kind.Direction]
		if needed != "" {
			out = append(out, HostResource{Group: kind.Resource.Group, Resource: kind.Resource.Resource, Verbs: verbs(needed)})
		}
	}
	return out
}

// RoleResources and ClusterRoleResources are what the rules of the two roles are made of, in their order.
func RoleResources(namespace string, sync resources.Options) []HostResource {
	return append(hostResources(namespace, sync), optionalResources(sync)...)
}

func ClusterRoleResources(sync resources.Options) []HostResource { return clusterResources(sync) }

// Rules are those of the Role.
func Rules(namespace string, sync resources.Options) []rbacv1.PolicyRule {
	return rulesOf(RoleResources(namespace, sync))
}

// RequiredRules are those of the Role without which the process does not start.
func RequiredRules(namespace string, sync resources.Options) []rbacv1.PolicyRule {
	return rulesOf(hostResources(namespace, sync))
}

// OptionalRules are those of the Role without which something is missing in the tenant.
func OptionalRules(sync resources.Options) []rbacv1.PolicyRule {
	return rulesOf(optionalResources(sync))
}

// ClusterRules are those of the ClusterRole: without them the tenant sees only the nodes that run its pods, and none of
// the host's classes.
func ClusterRules(sync resources.Options) []rbacv1.PolicyRule {
	return rulesOf(clusterResources(sync))
}

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
