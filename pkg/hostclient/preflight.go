package hostclient

import (
	"context"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
)

// Needs is what a tenant needs of its host.
type Needs struct {
	Tenant    string
	Namespace string
	// Anchor is the ConfigMap that owns what the process makes; Service is in front of the tenant's API.
	Anchor, Service string
	// DNS is the Service in front of the tenant's DNS: manifests of before it had one do without.
	DNS string
	// Required are rights in the namespace: without them the process does not start. Role is where they are granted.
	Required []rbacv1.PolicyRule
	Role     string
	// Optional are rights in the namespace and ClusterWide ones beyond it: without them something degrades.
	Optional, ClusterWide []rbacv1.PolicyRule
}

// Host is what a check found.
type Host struct {
	Anchor  *corev1.ConfigMap
	Service *corev1.Service
	// DNS is nil if there is none.
	DNS *corev1.Service
	// Missing are the optional rights that the host does not grant.
	Missing []Right
}

// Unreadable are the resources that the host does not let us use as we would, as
// schema.GroupResource prints them: "nodes", "storageclasses.storage.k8s.io".
func (h *Host) Unreadable() map[string]bool {
	out := map[string]bool{}
	for _, right := range h.Missing {
		out[schema.GroupResource{Group: right.Group, Resource: right.Resource}.String()] = true
	}
	return out
}

// Check asks the host for all that a tenant needs, all at once: it costs one round trip where nothing is missing. The
// error is the first thing to mend, an *UnreachableError if nobody answered.
func Check(ctx context.Context, host kubernetes.Interface, server string, needs Needs) (*Host, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	c := checker{host: host, server: server, needs: needs}

	var found Host
	var missing, clusterWide []Right
	errs := concurrently(
		func() error { return c.namespace(ctx) },
		func() (err error) {
			missing, err = c.missing(ctx, slices.Concat(needs.Required, needs.Optional))
			return err
		},
		func() (err error) { clusterWide, err = c.denied(ctx, "", rights(needs.ClusterWide)); return err },
		func() (err error) { found.Anchor, err = c.anchor(ctx); return err },
		func() (err error) { found.Service, err = c.service(ctx); return err },
		func() (err error) { found.DNS, err = c.dns(ctx); return err },
	)
	// In this order: each can be the cause of those after it.
	needed := rights(needs.Required)
	optional := func(right Right) bool { return !slices.Contains(needed, right) }
	for i, err := range errs {
		if err != nil {
			return nil, err
		}
		if required := slices.DeleteFunc(slices.Clone(missing), optional); i == 1 && len(required) > 0 {
			return nil, c.forbidden(ctx, required)
		}
	}
	found.Missing = append(missing, clusterWide...)
	return &found, nil
}

type checker struct {
	host   kubernetes.Interface
	server string
	needs  Needs
}

// namespace is content when we may not look: the check of the rights says so better.
func (c *checker) namespace(ctx context.Context) error {
	namespace, err := c.host.CoreV1().Namespaces().Get(ctx, c.needs.Namespace, metav1.GetOptions{})
	switch {
	case apierrors.IsForbidden(err):
		return nil
	case apierrors.IsNotFound(err):
		return fmt.Errorf("namespace %q does not exist: create it (kubectl create namespace %s) and apply the tenant's manifests",
			c.needs.Namespace, c.needs.Namespace)
	case err != nil:
		return Answer(c.server, fmt.Sprintf("read namespace %q", c.needs.Namespace), err)
	case namespace.DeletionTimestamp != nil:
		return fmt.Errorf("namespace %q is being deleted: wait until it is gone, or choose another", c.needs.Namespace)
	}
	return nil
}

func (c *checker) anchor(ctx context.Context) (*corev1.ConfigMap, error) {
	anchor, err := c.host.CoreV1().ConfigMaps(c.needs.Namespace).Get(ctx, c.needs.Anchor, metav1.GetOptions{})
	if err != nil {
		return nil, c.object("ConfigMap", c.needs.Anchor, err)
	}
	if anchor.DeletionTimestamp != nil {
		return nil, fmt.Errorf("ConfigMap %q in namespace %q is being deleted, and tenant %q with it", anchor.Name, anchor.Namespace, c.needs.Tenant)
	}
	return anchor, nil
}

func (c *checker) service(ctx context.Context) (*corev1.Service, error) {
	service, err := c.host.CoreV1().Services(c.needs.Namespace).Get(ctx, c.needs.Service, metav1.GetOptions{})
	if err != nil {
		return nil, c.object("Service", c.needs.Service, err)
	}
	return service, nil
}

func (c *checker) dns(ctx context.Context) (*corev1.Service, error) {
	if c.needs.DNS == "" {
		return nil, nil
	}
	service, err := c.host.CoreV1().Services(c.needs.Namespace).Get(ctx, c.needs.DNS, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, c.object("Service", c.needs.DNS, err)
	}
	return service, nil
}

// object is the error for something that the manifests make.
func (c *checker) object(kind, name string, err error) error {
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("%s %q is missing in namespace %q: apply the tenant's manifests again (nestling manifests %s -n %s)",
			kind, name, c.needs.Namespace, c.needs.Tenant, c.needs.Namespace)
	}
	return Answer(c.server, fmt.Sprintf("read %s %q in namespace %q", kind, name, c.needs.Namespace), err)
}

// concurrently returns the results in the order of the tasks.
func concurrently(tasks ...func() error) []error {
	errs := make([]error, len(tasks))
	var group sync.WaitGroup
	for i, task := range tasks {
		group.Go(func() { errs[i] = task() })
	}
	group.Wait()
	return errs
}
