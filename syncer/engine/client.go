package engine

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"nestling.dev/nestling/syncer/apply"
	"nestling.dev/nestling/syncer/resource"
)

// FieldManager is the name under which the syncer writes, on both sides.
const FieldManager = "nestling"

// client reads and writes one kind on one side.
type client struct {
	kind resource.Kind
	rest rest.Interface
	// heard is told how each list and each start of a watch went. Nil: nobody wants to know.
	heard func(error)
}

func newClient(config *rest.Config, kind resource.Kind) (*client, error) {
	config = rest.CopyConfig(config)
	version := kind.Resource.GroupVersion()
	config.GroupVersion = &version
	config.APIPath = "/apis"
	if version.Group == "" {
		config.APIPath = "/api"
	}
	if kind.Custom {
		custom := dynamic.ConfigFor(config)
		config.NegotiatedSerializer = custom.NegotiatedSerializer
		config.ContentType, config.AcceptContentTypes = custom.ContentType, custom.AcceptContentTypes
	} else {
		config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
		config.ContentType = runtime.ContentTypeProtobuf
		config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	}
	restClient, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("client of %s: %w", kind.Resource.Resource, err)
	}
	return &client{kind: kind, rest: restClient}, nil
}

// Parameters are encoded as of core/v1, which knows the options of all requests: the
// groups of custom resources are not in the scheme.

// listWatch is for an informer. It outlasts outages, and calls back when one is over.
func (c *client) listWatch(namespace string, selector labels.Selector, back func()) *cache.ListWatch {
	request := func(options metav1.ListOptions) *rest.Request {
		options.LabelSelector = selector.String()
		return c.rest.Get().NamespaceIfScoped(namespace, namespace != "").Resource(c.kind.Resource.Resource).
			SpecificallyVersionedParams(&options, scheme.ParameterCodec, corev1.SchemeGroupVersion)
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return persistent(ctx, back, func(ctx context.Context) (runtime.Object, error) {
				out, err := request(options).Do(ctx).Get()
				c.tell(ctx, err)
				return out, err
			})
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.Watch = true
			return persistent(ctx, back, func(ctx context.Context) (watch.Interface, error) {
				out, err := request(options).Watch(ctx)
				c.tell(ctx, err)
				return out, err
			})
		},
	}
}

// tell passes on how a request went, unless it was us who gave up.
func (c *client) tell(ctx context.Context, err error) {
	if c.heard != nil && ctx.Err() == nil {
		c.heard(err)
	}
}

func (c *client) get(ctx context.Context, key resource.Key) (resource.Object, error) {
	out := c.kind.New()
	err := c.rest.Get().NamespaceIfScoped(key.Namespace, c.kind.Namespaced).Resource(c.kind.Resource.Resource).Name(key.Name).Do(ctx).Into(out)
	return out, err
}

func (c *client) create(ctx context.Context, object resource.Object) error {
	return c.creation(object).Do(ctx).Error()
}

// creation is the request of a create; dryRun, if any, is metav1.DryRunAll.
func (c *client) creation(object resource.Object, dryRun ...string) *rest.Request {
	return c.rest.Post().NamespaceIfScoped(object.GetNamespace(), c.kind.Namespaced).Resource(c.kind.Resource.Resource).
		SpecificallyVersionedParams(&metav1.CreateOptions{FieldManager: FieldManager, DryRun: dryRun}, scheme.ParameterCodec, corev1.SchemeGroupVersion).
		Body(object)
}

// patch writes, and reads the object as it is then into after unless that is nil.
func (c *client) patch(ctx context.Context, live resource.Object, subresource string, patch []byte, after resource.Object) error {
	result := c.change(live, subresource, patch).Do(ctx)
	if after == nil {
		return result.Error()
	}
	return result.Into(after)
}

// change is the request of a patch; dryRun as in creation.
func (c *client) change(live resource.Object, subresource string, patch []byte, dryRun ...string) *rest.Request {
	request := c.rest.Patch(apply.Type(c.kind)).NamespaceIfScoped(live.GetNamespace(), c.kind.Namespaced).
		Resource(c.kind.Resource.Resource).Name(live.GetName())
	if subresource != "" {
		request = request.SubResource(subresource)
	}
	return request.SpecificallyVersionedParams(&metav1.PatchOptions{FieldManager: FieldManager, DryRun: dryRun}, scheme.ParameterCodec, corev1.SchemeGroupVersion).
		Body(patch)
}

func (c *client) bind(ctx context.Context, live resource.Object, node string) error {
	binding := &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: live.GetNamespace(), Name: live.GetName(), UID: live.GetUID()},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node},
	}
	return c.rest.Post().Namespace(live.GetNamespace()).Resource(c.kind.Resource.Resource).Name(live.GetName()).
		SubResource("binding").Body(binding).Do(ctx).Error()
}

// delete of an object by its UID; exact: and by its version.
func (c *client) delete(ctx context.Context, live resource.Object, grace *int64, exact bool) error {
	uid, version := live.GetUID(), live.GetResourceVersion()
	preconditions := &metav1.Preconditions{UID: &uid}
	if exact {
		preconditions.ResourceVersion = &version
	}
	background := metav1.DeletePropagationBackground
	return c.rest.Delete().NamespaceIfScoped(live.GetNamespace(), c.kind.Namespaced).
		Resource(c.kind.Resource.Resource).Name(live.GetName()).
		Body(&metav1.DeleteOptions{
			GracePeriodSeconds: grace,
			Preconditions:      preconditions,
			PropagationPolicy:  &background,
		}).Do(ctx).Error()
}
