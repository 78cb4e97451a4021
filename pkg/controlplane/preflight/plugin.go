package preflight

import (
	"context"
	"errors"
	"io"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	api "k8s.io/kubernetes/pkg/apis/core"

	"nestling.dev/nestling/syncer/resource"
)

// PluginName in lists of admission plugins.
const PluginName = "NestlingPreflight"

// Judge asks the host.
type Judge interface {
	// Version is that in which the host is asked about a resource; false: it is not asked.
	Version(resource schema.GroupResource) (schema.GroupVersion, bool)
	// Judge returns the host's refusal of an object on its way, as a Status for the user,
	// and warnings. Nil lets the object pass.
	Judge(ctx context.Context, object Object) (warnings []string, refusal error)
}

// Object is an object on its way into the virtual cluster.
type Object struct {
	Resource schema.GroupResource
	Virtual  resource.Object
	Old      resource.Object // what it was; nil if it is new
	DryRun   bool            // it will not come
}

// Options configure the plugin.
type Options struct {
	// Judge is asked.
	Judge Judge
	// Exempt is the user whose requests pass: the syncer, who writes what the host said.
	Exempt string
}

// Plugin is the admission plugin.
type Plugin struct {
	*admission.Handler
	options Options
}

var _ admission.ValidationInterface = &Plugin{}

// New is the plugin.
func New(options Options) *Plugin {
	return &Plugin{Handler: admission.NewHandler(admission.Create, admission.Update), options: options}
}

// Factory is New in the form in which API servers take plugins.
func Factory(options Options) admission.Factory {
	return func(io.Reader) (admission.Interface, error) { return New(options), nil }
}

// ValidateInitialization is called once all setters have been.
func (p *Plugin) ValidateInitialization() error {
	if p.options.Judge == nil {
		return errors.New(PluginName + ": no judge")
	}
	return nil
}

// Validate refuses what the host refuses.
func (p *Plugin) Validate(ctx context.Context, request admission.Attributes, _ admission.ObjectInterfaces) error {
	resource := request.GetResource().GroupResource()
	version, ok := p.options.Judge.Version(resource)
	if !ok || !asks(request) || request.GetUserInfo().GetName() == p.options.Exempt {
		return nil
	}
	object, err := objectOf(request, version)
	if err != nil {
		// Nobody is served by a refusal: the host says later what it thinks.
		klog.FromContext(ctx).Error(err, "Object can't be converted; its preflight is left out", "resource", resource)
		return nil
	}
	warnings, refusal := p.options.Judge.Judge(ctx, object)
	for _, text := range warnings {
		warning.AddWarning(ctx, "", text)
	}
	return refusal
}

// asks tells the requests that a host could refuse: what is new, and changes of what it
// would be asked to do. Labels, annotations and status are changed too often to ask.
func asks(request admission.Attributes) bool {
	switch request.GetSubresource() {
	case "":
		return request.GetOperation() == admission.Create || !sameSpec(request.GetOldObject(), request.GetObject())
	case "resize", "ephemeralcontainers":
		return request.GetOperation() == admission.Update && !sameSpec(request.GetOldObject(), request.GetObject())
	}
	return false
}

// sameSpec reports whether an update leaves alone what the virtual side owns beside
// metadata and status.
func sameSpec(before, after runtime.Object) bool {
	switch before := before.(type) {
	case *api.Pod:
		after, ok := after.(*api.Pod)
		return ok && equality.Semantic.DeepEqual(before.Spec, after.Spec)
	case *api.PersistentVolumeClaim:
		after, ok := after.(*api.PersistentVolumeClaim)
		return ok && equality.Semantic.DeepEqual(before.Spec, after.Spec)
	}
	return sameGeneration(before, after)
}

// sameGeneration asks the API server itself, which counts the changes of a spec in
// metadata.generation, before validating admission.
func sameGeneration(before, after runtime.Object) bool {
	was, wasOK := before.(resource.Object)
	is, isOK := after.(resource.Object)
	return wasOK && isOK && is.GetGeneration() != 0 && was.GetGeneration() == is.GetGeneration()
}

func objectOf(request admission.Attributes, version schema.GroupVersion) (Object, error) {
	out := Object{Resource: request.GetResource().GroupResource(), DryRun: request.IsDryRun()}
	var err error
	if out.Virtual, err = versioned(request.GetObject(), version); err != nil {
		return out, err
	}
	if request.GetOperation() == admission.Update {
		out.Old, err = versioned(request.GetOldObject(), version)
	}
	return out, err
}

// versioned is an object as the syncer knows it. What it shares with the one in admission
// is not changed by anybody.
func versioned(object runtime.Object, version schema.GroupVersion) (resource.Object, error) {
	if custom, ok := object.(*unstructured.Unstructured); ok {
		if custom.GroupVersionKind().GroupVersion() != version {
			return nil, errors.New("it is of another version than the host is asked in")
		}
		return custom, nil
	}
	out, err := legacyscheme.Scheme.ConvertToVersion(object, version)
	if err != nil {
		return nil, err
	}
	virtual, ok := out.(resource.Object)
	if !ok {
		return nil, errors.New("it has no metadata")
	}
	return virtual, nil
}
