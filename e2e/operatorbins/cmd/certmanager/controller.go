package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/cert-manager/cert-manager/pkg/controller"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver" // each registers itself
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	_ "github.com/cert-manager/cert-manager/pkg/controller/clusterissuers"
	_ "github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned"
	logf "github.com/cert-manager/cert-manager/pkg/logs"
)

const (
	// workers of each controller, and healthAddress of the chart's probe: upstream's.
	workers       = 5
	healthAddress = ":9403"
)

// newController issues certificates by CAs and self-signed ones. ACME and the issuers of
// companies are left out: they would bring the libraries of five clouds.
func newController(flags *pflag.FlagSet) (func(ctx context.Context) error, error) {
	options := controller.ContextOptions{
		CertificateOptions: controller.CertificateOptions{
			CopiedAnnotationPrefixes:                 []string{"*", "-kubectl.kubernetes.io/"},
			CertificateRequestMinimumBackoffDuration: time.Hour,
			CertificateRequestMaximumBackoffDuration: 32 * time.Hour,
		},
	}
	flags.StringVar(&options.ClusterResourceNamespace, "cluster-resource-namespace", "kube-system", "where Secrets of cluster issuers are")
	flags.BoolVar(&options.EnableOwnerRef, "enable-certificate-owner-ref", false, "Secrets go with their certificates")
	namespace := flags.String("leader-election-namespace", "kube-system", "where the lease is")
	return func(ctx context.Context) error {
		factory, err := controller.NewContextFactory(ctx, options)
		if err != nil {
			return err
		}
		shared, err := factory.Build()
		if err != nil {
			return err
		}
		health, err := new(net.ListenConfig).Listen(ctx, "tcp", healthAddress)
		if err != nil {
			return err
		}
		go func() {
			_ = http.Serve(health, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }))
		}()
		return lead(ctx, shared, *namespace, func(ctx context.Context) error { return control(ctx, factory, shared) })
	}, nil
}

// control runs every controller until the first of them ends.
func control(ctx context.Context, factory *controller.ContextFactory, shared *controller.Context) error {
	ended := make(chan error, len(controller.Known()))
	for name, make := range controller.Known() {
		made, err := make(factory)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		go func() { ended <- made.Run(workers, ctx) }()
	}
	shared.SharedInformerFactory.Start(ctx.Done())
	shared.KubeSharedInformerFactory.Start(ctx.Done())
	shared.HTTP01ResourceMetadataInformersFactory.Start(ctx.Done())
	return <-ended
}

// lead runs while it holds the lease.
func lead(ctx context.Context, shared *controller.Context, namespace string, run func(ctx context.Context) error) error {
	hostname, err := os.Hostname()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: namespace, Name: "cert-manager-controller"},
			Client:     shared.Client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: hostname, EventRecorder: shared.Recorder},
		},
		LeaseDuration: time.Minute, RenewDeadline: 40 * time.Second, RetryPeriod: 15 * time.Second,
		ReleaseOnCancel: true, // a test that replaces the pod need not wait a minute
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { cancel(run(ctx)) },
			OnStoppedLeading: func() { logf.FromContext(ctx).Info("Not the leader any more") },
		},
	})
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
