package simhost

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/latest"
	"k8s.io/kubernetes/pkg/scheduler/profile"
)

// runScheduler is upstream's kube-scheduler with its default configuration. It
// is put together here rather than with cmd/kube-scheduler/app, whose Setup
// wants a kubeconfig file and whose Run registers its configuration
// process-wide, where it meets other components and a second host.
func runScheduler(ctx context.Context, config *rest.Config, ready func()) error {
	hostClient, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	dynamicHostClient, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	defaults, err := latest.Default()
	if err != nil {
		return fmt.Errorf("default configuration: %w", err)
	}

	// Informers and the event recorder outlive the scheduling loop, so that a
	// pod in the middle of its binding is finished.
	around, stopAround := context.WithCancel(context.WithoutCancel(ctx))
	informers := scheduler.NewInformerFactory(hostClient, 0)
	dynamicInformers := dynamicinformer.NewDynamicSharedInformerFactory(dynamicHostClient, 0)
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: hostClient.EventsV1()})
	defer func() {
		stopAround()
		informers.Shutdown()
		dynamicInformers.Shutdown()
		broadcaster.Shutdown()
	}()
	if err := broadcaster.StartRecordingToSinkWithContext(around); err != nil {
		return fmt.Errorf("events: %w", err)
	}

	loop, err := scheduler.New(ctx, hostClient, informers, dynamicInformers,
		profile.NewRecorderFactory(broadcaster),
		scheduler.WithComponentConfigVersion(defaults.TypeMeta.APIVersion),
		scheduler.WithKubeConfig(config),
		scheduler.WithProfiles(defaults.Profiles...),
		scheduler.WithPercentageOfNodesToScore(defaults.PercentageOfNodesToScore),
		scheduler.WithPodInitialBackoffSeconds(defaults.PodInitialBackoffSeconds),
		scheduler.WithPodMaxBackoffSeconds(defaults.PodMaxBackoffSeconds),
		scheduler.WithParallelism(defaults.Parallelism),
	)
	if err != nil {
		return err
	}

	informers.Start(around.Done())
	dynamicInformers.Start(around.Done())
	informers.WaitForCacheSync(ctx.Done())
	dynamicInformers.WaitForCacheSync(ctx.Done())
	if err := loop.WaitForHandlersSync(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return errors.Join(errors.New("caches did not fill"), err)
	}
	ready()
	loop.Run(ctx)
	return nil
}
