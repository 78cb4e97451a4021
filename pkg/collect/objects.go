package collect

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"nestling.dev/nestling/pkg/deploy"
	"nestling.dev/nestling/syncer/resource"
)

// skipped are lists of what is in the report otherwise, or is no object.
var skipped = map[string]bool{
	"events": true, "events.events.k8s.io": true, "componentstatuses": true,
	"pods.metrics.k8s.io": true, "nodes.metrics.k8s.io": true,
}

// listable are the kinds of a side that can be listed, each in one version.
func (c *collector) listable(s *side, namespacedOnly bool) []schema.GroupVersionResource {
	lists, err := s.discovery.ServerPreferredResources()
	if err != nil { // groups of aggregated API servers that are down
		c.problem(s.name+": kinds", err)
	}
	var out []schema.GroupVersionResource
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for _, one := range list.APIResources {
			found := version.WithResource(one.Name)
			if slices.Contains(one.Verbs, "list") && !strings.Contains(one.Name, "/") && (one.Namespaced || !namespacedOnly) && !skipped[found.GroupResource().String()] {
				out = append(out, found)
			}
		}
	}
	return out
}

// hostTasks take, of every kind in the host namespace, the objects that carry the tenant's labels; and by name those that
// carry none, and those that are in no namespace.
func (c *collector) hostTasks(ctx context.Context) []task {
	n := c.names
	var tasks []task
	for _, kind := range c.listable(c.host, true) {
		tasks = append(tasks, task{"host: " + kind.GroupResource().String(), func(ctx context.Context) error {
			where := c.host.dynamic.Resource(kind).Namespace(n.Namespace)
			return c.objects(ctx, c.host, kind, where, deploy.ControlPlaneLabel+"="+n.Tenant, resource.LabelTenant+"="+n.Tenant)
		}})
	}
	rbac := schema.GroupVersion{Group: "rbac.authorization.k8s.io", Version: "v1"}
	for _, one := range []struct {
		kind schema.GroupVersionResource
		name string
	}{
		{corev1.SchemeGroupVersion.WithResource("namespaces"), n.Namespace},
		{rbac.WithResource("clusterroles"), n.ClusterRole()},
		{rbac.WithResource("clusterrolebindings"), n.ClusterRole()},
	} {
		tasks = append(tasks, task{"host: " + one.kind.Resource + " " + one.name, func(ctx context.Context) error {
			return c.object(ctx, c.host, one.kind, one.name)
		}})
	}
	nodes := corev1.SchemeGroupVersion.WithResource("nodes")
	tasks = append(tasks, task{"host: nodes", func(ctx context.Context) error {
		return c.objects(ctx, c.host, nodes, c.host.dynamic.Resource(nodes), "")
	}})
	// The process's own Secrets carry no label. Of these not even the keys are asked for.
	secrets := corev1.SchemeGroupVersion.WithResource("secrets")
	for _, name := range []string{n.PKI(), n.Kubeconfig()} {
		tasks = append(tasks, task{"host: Secret " + name, func(ctx context.Context) error {
			found, err := c.host.metadata.Resource(secrets).Namespace(n.Namespace).Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return c.denied(c.host, secrets, err)
			}
			found.ManagedFields, found.Annotations = nil, nil
			content, err := yaml.Marshal(found)
			if err != nil {
				return err
			}
			return c.add(fileName("host", "objects", "secret-"+name+"-metadata.yaml"), content)
		}})
	}
	return tasks
}

// virtualTasks take everything.
func (c *collector) virtualTasks(ctx context.Context) []task {
	var tasks []task
	for _, kind := range c.listable(c.virtual, false) {
		tasks = append(tasks, task{"virtual: " + kind.GroupResource().String(), func(ctx context.Context) error {
			return c.objects(ctx, c.virtual, kind, c.virtual.dynamic.Resource(kind), "")
		}})
	}
	for name, path := range map[string]string{"metrics.txt": "/metrics", "readyz.txt": "/readyz?verbose", "livez.txt": "/livez?verbose"} {
		tasks = append(tasks, task{"virtual: " + path, func(ctx context.Context) error { return c.page(ctx, name, path) }})
	}
	return append(tasks, task{"virtual: events", func(ctx context.Context) error {
		return c.events(ctx, c.virtual, metav1.NamespaceAll, func(*corev1.Event) bool { return true })
	}})
}

// page takes what the tenant's API server says about itself. An answer of "not ready" is one, too.
func (c *collector) page(ctx context.Context, name, path string) error {
	content, err := c.virtual.client.Discovery().RESTClient().Get().RequestURI(path).DoRaw(ctx)
	if len(content) == 0 {
		return err
	}
	return c.add(fileName("virtual", name), []byte(redactText(string(content))))
}

// objects takes those of one kind that one of the selectors selects.
func (c *collector) objects(ctx context.Context, s *side, kind schema.GroupVersionResource, where dynamic.ResourceInterface, selectors ...string) error {
	var out bytes.Buffer
	count, cut := 0, ""
	for _, selector := range selectors {
		options := metav1.ListOptions{LabelSelector: selector, Limit: pageSize}
		for {
			list, err := where.List(ctx, options)
			if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
				return nil // gone since it was discovered
			}
			if err != nil {
				return c.denied(s, kind, err)
			}
			for i := range list.Items {
				text, err := document(&list.Items[i])
				if err != nil {
					return err
				}
				if count++; count > maxObjects || out.Len()+len(text) > kindBytes {
					cut = fmt.Sprintf("only %d objects of %s are in the report", count-1, kind.GroupResource())
					break
				}
				out.WriteString("---\n")
				out.Write(text)
			}
			if options.Continue = list.GetContinue(); options.Continue == "" || cut != "" {
				break
			}
		}
	}
	if cut != "" {
		c.problem(s.name+": "+cut, nil)
	}
	if count == 0 {
		return nil
	}
	return c.add(fileName(s.name, "objects", kind.GroupResource().String()+".yaml"), out.Bytes())
}

// object takes one that is in no namespace.
func (c *collector) object(ctx context.Context, s *side, kind schema.GroupVersionResource, name string) error {
	found, err := s.dynamic.Resource(kind).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return c.denied(s, kind, err)
	}
	text, err := document(found)
	if err != nil {
		return err
	}
	return c.add(fileName(s.name, "objects", kind.GroupResource().String()+".yaml"), text)
}

func document(object *unstructured.Unstructured) ([]byte, error) {
	return yaml.Marshal(redactObject(object))
}
