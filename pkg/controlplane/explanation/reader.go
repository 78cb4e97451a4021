package explanation

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// readersMost bounds how many explanations are made at once. Each reads from the server that
// it is itself a request of: those beyond are told to come again, and wait for nothing.
const readersMost = 8

// reader makes explanations.
type reader struct {
	options Options
	slots   chan struct{}
}

func newReader(options Options) *reader {
	return &reader{options: options, slots: make(chan struct{}, readersMost)}
}

// read explains an object of a namespace, or of none, by the name of its explanation.
func (r *reader) read(ctx context.Context, namespace, name string) (*Explanation, error) {
	gr, object, err := parse(name)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	default:
		return nil, apierrors.NewTooManyRequests("others have their objects explained; try again", 1)
	}
	as, err := r.asUser(ctx)
	if err != nil {
		return nil, err
	}
	gvr, kind, err := r.find(ctx, gr, namespace != "")
	if err != nil {
		return nil, err
	}
	client, err := dynamic.NewForConfig(as)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	found, err := client.Resource(gvr).Namespace(namespace).Get(ctx, object, metav1.GetOptions{})
	if err != nil {
		return nil, err // in the API server's own words: there is none, or it is not for this user
	}
	explained, err := r.options.Source.Explain(gvr, kind, found)
	if err != nil {
		return nil, err
	}
	out := &Explanation{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Explanation: *explained}
	workload{client: client, source: r.options.Source}.add(ctx, found, &out.Explanation)
	return out, nil
}

var resourceName = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)

// parse is RESOURCE[.GROUP]:NAME.
func parse(name string) (schema.GroupResource, string, error) {
	of, object, ok := strings.Cut(name, ":")
	if !ok || !resourceName.MatchString(of) || object == "" || len(path.IsValidPathSegmentName(object)) > 0 {
		return schema.GroupResource{}, "", fmt.Errorf("%q is not RESOURCE[.GROUP]:NAME, such as pods:web or deployments.apps:web", name)
	}
	return schema.ParseGroupResource(of), object, nil
}

// asUser connects in the name of the user who asks: what they may not read stays unread.
func (r *reader) asUser(ctx context.Context) (*rest.Config, error) {
	config := r.options.Loopback()
	user, ok := genericapirequest.UserFrom(ctx)
	if config == nil || !ok || user.GetName() == "" {
		return nil, apierrors.NewServiceUnavailable("the API server is not ready")
	}
	config.QPS = -1 // the API server's own fairness is the limit
	config.Impersonate = rest.ImpersonationConfig{UserName: user.GetName(), UID: user.GetUID(), Groups: user.GetGroups(), Extra: user.GetExtra()}
	return config, nil
}

// find is what the cluster serves under a resource, in the version that the source wants, or
// that the group prefers.
func (r *reader) find(ctx context.Context, gr schema.GroupResource, namespaced bool) (schema.GroupVersionResource, string, error) {
	none := schema.GroupVersionResource{}
	discover, err := discovery.NewDiscoveryClientForConfig(r.options.Loopback())
	if err != nil {
		return none, "", apierrors.NewInternalError(err)
	}
	version, ok := r.options.Source.Version(gr)
	if !ok && gr.Group == "" {
		version, ok = "v1", true
	}
	if !ok {
		var group metav1.APIGroup
		if err := discover.RESTClient().Get().AbsPath("/apis", gr.Group).Do(ctx).Into(&group); err != nil {
			return none, "", unserved(gr, err)
		}
		version = group.PreferredVersion.Version
	}
	gvr := gr.WithVersion(version)
	prefix := "/apis/"
	if gr.Group == "" {
		prefix = "/api/"
	}
	var served metav1.APIResourceList
	if err := discover.RESTClient().Get().AbsPath(prefix + gvr.GroupVersion().String()).Do(ctx).Into(&served); err != nil {
		return none, "", unserved(gr, err)
	}
	for _, one := range served.APIResources {
		switch {
		case one.Name != gr.Resource:
		case one.Namespaced && !namespaced:
			return none, "", apierrors.NewBadRequest(fmt.Sprintf("%s are objects of namespaces: ask for %s of one", gr, Namespaced))
		case !one.Namespaced && namespaced:
			return none, "", apierrors.NewBadRequest(fmt.Sprintf("%s are of no namespace: ask for %s", gr, Cluster))
		default:
			return gvr, one.Kind, nil
		}
	}
	return none, "", unserved(gr, nil)
}

func unserved(gr schema.GroupResource, err error) error {
	if err != nil && !apierrors.IsNotFound(err) {
		return apierrors.NewInternalError(errors.New("this cluster's discovery does not answer"))
	}
	return apierrors.NewBadRequest(fmt.Sprintf("this cluster serves no resource %q", gr))
}
