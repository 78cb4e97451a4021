package controlplane

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/controller-manager/pkg/clientbuilder"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app/config"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app/options"

	"nestling.dev/nestling/pkg/controlplane/evictions"
	"nestling.dev/nestling/pkg/controlplane/namespaces"
	"nestling.dev/nestling/pkg/pki"
)

// ControllerManagerUser is the user name to which upstream's RBAC defaults
// grant the controller manager's rights.
const ControllerManagerUser = "system:kube-controller-manager"

// ControllerManagerOptions configure the controller manager.
type ControllerManagerOptions struct {
	// ClientConfig returns the connection, as ControllerManagerUser. It is
	// called in Run, when the API server is ready.
	ClientConfig func() (*rest.Config, error)

	PKI *pki.Bundle
	Dir string // keys are written here: mode 0700, files 0600

	// Controllers are upstream's names as in --controllers, for example "*" and
	// "-node-ipam-controller". Nil means TenantControllers().
	Controllers []string

	// ExtraArgs are flags of kube-controller-manager by name, without dashes.
	ExtraArgs map[string]string
}

// ControllerManager is upstream's kube-controller-manager as a component. It
// can run only once per process.
type ControllerManager struct {
	opts           ControllerManagerOptions
	ownControllers bool // some of upstream's are replaced: see TenantControllers
}

// NewControllerManager checks the options.
func NewControllerManager(opts ControllerManagerOptions) (*ControllerManager, error) {
	switch {
	case opts.ClientConfig == nil:
		return nil, errors.New("controller manager: the client config is missing")
	case opts.PKI == nil:
		return nil, errors.New("controller manager: the PKI is missing")
	case opts.Dir == "":
		return nil, errors.New("controller manager: the directory for keys is missing")
	}
	manager := &ControllerManager{opts: opts}
	if opts.Controllers == nil {
		manager.opts.Controllers, manager.ownControllers = TenantControllers(), true
	}
	return manager, nil
}

// Name of the component.
func (m *ControllerManager) Name() string { return "controller-manager" }

// Run runs the controllers until ctx ends, and then until they have ended.
// ready is called when a pod can be created in the default namespace, which
// takes its ServiceAccount.
func (m *ControllerManager) Run(ctx context.Context, ready func()) error {
	clientConfig, err := m.opts.ClientConfig()
	if err != nil {
		return err
	}
	managerConfig, err := m.config(ctx, clientConfig)
	if err != nil {
		return err
	}

	// app.Run ends with all others, and they with it.
	running, cancel := context.WithCancel(klog.NewContext(ctx, klog.Background().WithName("controller-manager")))
	group, running := errgroup.WithContext(running)
	group.Go(func() error {
		if awaitServiceAccount(running, managerConfig.Client) == nil {
			ready()
		}
		return nil
	})
	group.Go(func() error {
		defer cancel()
		if err := app.Run(running, managerConfig.Complete()); err != nil {
			return fmt.Errorf("run: %w", err)
		}
		return nil
	})
	if m.ownControllers {
		for account, run := range ownControllers() {
			group.Go(func() error { return runAs(running, managerConfig, account, run) })
		}
	}
	return group.Wait()
}

// ownControllers are a tenant's in place of upstream's, by the ServiceAccount that upstream's
// RBAC defaults let do their work.
func ownControllers() map[string]func(context.Context, *rest.Config) error {
	return map[string]func(context.Context, *rest.Config) error{
		"namespace-controller":                        runNamespaces,
		"validatingadmissionpolicy-status-controller": runPolicyStatus,
		"node-controller":                             evictions.Run,
	}
}

// runAs runs a controller as a ServiceAccount until ctx ends.
func runAs(ctx context.Context, managerConfig *config.Config, account string, run func(context.Context, *rest.Config) error) error {
	identities := clientbuilder.NewDynamicClientBuilder(rest.AnonymousClientConfig(managerConfig.Kubeconfig), managerConfig.Client.CoreV1(), metav1.NamespaceSystem)
	clientConfig, err := identities.Config(account)
	if err != nil {
		return fmt.Errorf("%s: %w", account, err)
	}
	if err := run(ctx, clientConfig); err != nil {
		return fmt.Errorf("%s: %w", account, err)
	}
	return nil
}

// runNamespaces is the namespace controller, which need not guess how long pods take.
func runNamespaces(ctx context.Context, clientConfig *rest.Config) error {
	controller, err := namespaces.New(ctx, clientConfig)
	if err != nil {
		return err
	}
	controller.Run(ctx)
	return nil
}

// config does what upstream's Options.Config does, which insists on a kubeconfig file.
func (m *ControllerManager) config(ctx context.Context, clientConfig *rest.Config) (*config.Config, error) {
	files, err := writeFiles(m.opts.Dir, map[string][]byte{
		"root-ca-file":                     m.opts.PKI.CAPEM(),
		"service-account-private-key-file": m.opts.PKI.ServiceAccountKeyPEM(),
		"cluster-signing-cert-file":        m.opts.PKI.CAPEM(),
		"cluster-signing-key-file":         m.opts.PKI.CAKeyPEM(),
	})
	if err != nil {
		return nil, err
	}
	manager, err := options.NewKubeControllerManagerOptions()
	if err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	known, disabled, aliases := app.KnownControllers(), app.ControllersDisabledByDefault(), app.ControllerAliases()
	flagSets := manager.Flags(known, disabled, aliases)
	if err := setFlags(&flagSets, m.flags(), files, m.opts.ExtraArgs); err != nil {
		return nil, err
	}
	if err := manager.Validate(known, disabled, aliases); err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}

	clientConfig = rest.CopyConfig(clientConfig)
	clientConfig.ContentType = "application/vnd.kubernetes.protobuf"
	clientConfig.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	clientConfig.DisableCompression = true
	client, err := kubernetes.NewForConfig(rest.AddUserAgent(clientConfig, options.KubeControllerManagerUserAgent))
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	managerConfig := &config.Config{
		Client:                   client,
		Kubeconfig:               clientConfig,
		EventBroadcaster:         broadcaster,
		EventRecorder:            broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: options.KubeControllerManagerUserAgent}),
		ComponentGlobalsRegistry: manager.ComponentGlobalsRegistry,
	}
	if err := manager.ApplyTo(managerConfig, known, disabled, aliases); err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	return managerConfig, nil // the metrics options are process-wide; the API server applied them
}

func (m *ControllerManager) flags() map[string]string {
	return map[string]string{
		"controllers": strings.Join(m.opts.Controllers, ","),
		// Every controller is itself in the audit, with no more rights than it needs.
		"use-service-account-credentials": "true",
		// One process, one controller manager; losing a lease would exit the process.
		"leader-elect": "false",
		// Its metrics are in the process-wide registry; nobody else talks to it.
		"secure-port": "0",
		// Less than the time that the whole process has for its stop.
		"controller-shutdown-timeout": "5s",
	}
}

// serviceAccountInterval between two looks for the default ServiceAccount.
const serviceAccountInterval = 25 * time.Millisecond

func awaitServiceAccount(ctx context.Context, client kubernetes.Interface) error {
	return wait.PollUntilContextCancel(ctx, serviceAccountInterval, true, func(ctx context.Context) (bool, error) {
		_, err := client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, nil
	})
}
