package serviceip

import (
	"context"
	"errors"
	"io"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	"k8s.io/client-go/kubernetes"
	api "k8s.io/kubernetes/pkg/apis/core"
)

// PluginName in lists of admission plugins.
const PluginName = "NestlingServiceIP"

// Allocator asks the host for addresses.
type Allocator interface {
	// Allocate returns the host Service of the virtual one, with addresses. A virtual
	// Service without UID is being created, one with UID is about to become what is
	// given. Nothing stays on the host of a dry run. Errors are for the user: they are
	// Status errors without host names.
	Allocate(ctx context.Context, virtual *corev1.Service, dryRun bool) (host *corev1.Service, err error)
}

// Options configure the plugin.
type Options struct {
	// Allocator is the current allocator, nil as long as there is none: requests wait
	// for it, up to 10 s.
	Allocator func() Allocator
	// Own tells Services whose address is no choice of the host's: the tenant's DNS has that
	// of a host Service that came with the tenant. Nil: none, but for default/kubernetes.
	Own func(namespace, name string) bool
	// Families are those of this cluster's Service range, the primary one first. A
	// dual-stack host may give an address of another, which is left out. Empty: all.
	Families []corev1.IPFamily
}

// Plugin is the admission plugin.
type Plugin struct {
	*admission.Handler
	options Options
	exists  func(ctx context.Context, namespace, name string) (bool, error)
}

var (
	_ admission.MutationInterface            = &Plugin{}
	_ initializer.WantsExternalKubeClientSet = &Plugin{}
)

// New is the plugin. The API server initializes it.
func New(options Options) *Plugin {
	plugin := &Plugin{Handler: admission.NewHandler(admission.Create, admission.Update), options: options}
	plugin.SetReadyFunc(func() bool { return options.Allocator() != nil })
	return plugin
}

// Factory is New in the form in which API servers take plugins.
func Factory(options Options) admission.Factory {
	return func(io.Reader) (admission.Interface, error) { return New(options), nil }
}

// Register makes the plugin known by its name.
func Register(plugins *admission.Plugins, options Options) {
	plugins.Register(PluginName, Factory(options))
}

// SetExternalKubeClientSet gives the plugin a client of this very API server.
func (p *Plugin) SetExternalKubeClientSet(virtual kubernetes.Interface) {
	p.exists = func(ctx context.Context, namespace, name string) (bool, error) {
		_, err := virtual.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	}
}

// ValidateInitialization is called once all setters have been.
func (p *Plugin) ValidateInitialization() error {
	switch {
	case p.options.Allocator == nil:
		return errors.New(PluginName + ": no allocator")
	case p.exists == nil:
		return errors.New(PluginName + ": no client")
	}
	return nil
}

// Admit puts the host's addresses into the Service.
func (p *Plugin) Admit(ctx context.Context, request admission.Attributes, _ admission.ObjectInterfaces) error {
	if request.GetResource().GroupResource() != api.Resource("services") || request.GetSubresource() != "" {
		return nil
	}
	service, ok := request.GetObject().(*api.Service)
	if !ok {
		return apierrors.NewBadRequest("object is not a Service")
	}
	if p.own(request.GetNamespace(), service.Name) || !hasIP(service) {
		return nil
	}

	var wanted *api.Service
	var err error
	if request.GetOperation() == admission.Create {
		wanted, err = p.created(ctx, request, service)
	} else {
		wanted, err = updated(ctx, request, service)
	}
	if err != nil || wanted == nil {
		return err
	}

	if !p.WaitForReady() {
		return admission.NewForbidden(request, errors.New("the connection to the host cluster is not ready yet; try again"))
	}
	virtual, err := toV1(wanted)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	host, err := p.options.Allocator().Allocate(ctx, virtual, request.IsDryRun())
	if err != nil {
		return err
	}
	service.Name = wanted.Name // may have been generated
	if request.IsDryRun() {
		// The host has agreed. The addresses of its dry runs are placeholders, which this
		// cluster would refuse; it has placeholders of its own.
		return nil
	}
	return p.assign(service, wanted, host)
}

func (p *Plugin) own(namespace, name string) bool {
	return isAPIService(namespace, name) || p.options.Own != nil && p.options.Own(namespace, name)
}

// isAPIService tells default/kubernetes, which the API server makes for itself at an
// address that it was told.
func isAPIService(namespace, name string) bool {
	return namespace == metav1.NamespaceDefault && name == "kubernetes"
}

// hasIP tells Services that have addresses of their own: neither ExternalName nor headless.
func hasIP(service *api.Service) bool {
	switch service.Spec.Type {
	case api.ServiceTypeClusterIP, api.ServiceTypeNodePort, api.ServiceTypeLoadBalancer:
		return service.Spec.ClusterIP != api.ClusterIPNone && !slices.Contains(service.Spec.ClusterIPs, api.ClusterIPNone)
	}
	return false
}
