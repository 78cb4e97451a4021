package main

import (
	"context"

	"github.com/spf13/pflag"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	kubescheme "k8s.io/client-go/kubernetes/scheme"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/controller/cainjector"
	logf "github.com/cert-manager/cert-manager/pkg/logs"
	"github.com/cert-manager/cert-manager/pkg/util"
)

// newInjector writes CAs into webhook configurations, CRDs and APIServices that ask for it.
func newInjector(flags *pflag.FlagSet) (func(ctx context.Context) error, error) {
	namespace := flags.String("leader-election-namespace", "kube-system", "where the lease is")
	return func(ctx context.Context) error {
		scheme := runtime.NewScheme()
		for _, add := range []func(*runtime.Scheme) error{
			kubescheme.AddToScheme, certmanagerv1.AddToScheme, apiextensionsv1.AddToScheme, apiregistrationv1.AddToScheme,
		} {
			utilruntime.Must(add(scheme))
		}
		ctrl.SetLogger(logf.FromContext(ctx))
		config, err := ctrl.GetConfig()
		if err != nil {
			return err
		}
		// The field manager of what it applies comes from it.
		config = util.RestConfigWithUserAgent(config, "cainjector")
		manager, err := ctrl.NewManager(config, ctrl.Options{
			Scheme:                  scheme,
			LeaderElection:          true,
			LeaderElectionNamespace: *namespace,
			LeaderElectionID:        "cert-manager-cainjector-leader-election",
			Metrics:                 metricsserver.Options{BindAddress: "0"},
			// A test that replaces the pod need not wait until the lease has run out.
			LeaderElectionReleaseOnCancel: true,
		})
		if err != nil {
			return err
		}
		if err := cainjector.RegisterAllInjectors(ctx, manager, cainjector.SetupOptions{
			EnableCertificatesDataSource: true,
			EnabledReconcilersFor: map[string]bool{
				cainjector.MutatingWebhookConfigurationName: true, cainjector.ValidatingWebhookConfigurationName: true,
				cainjector.APIServiceName: true, cainjector.CustomResourceDefinitionName: true,
			},
		}); err != nil {
			return err
		}
		return manager.Start(ctx)
	}, nil
}
