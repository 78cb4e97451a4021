package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"nestling.dev/nestling/pkg/initialobjects"
	"nestling.dev/nestling/pkg/lifecycle"
)

// initialObjectsUser is who applies the operator's objects, in the tenant's audit log.
const initialObjectsUser = "nestling:initial-objects"

// initialObjects is the component that keeps the operator's objects in the tenant; there is
// none where there are none. It is the last: they may need all that a tenant has.
func (s *server) initialObjects() []lifecycle.Component {
	metrics := initialobjects.NewMetrics(s.metrics.Registerer())
	if len(s.config.InitialObjects) == 0 {
		return nil
	}
	return []lifecycle.Component{lifecycle.New("initial-objects", func(ctx context.Context, ready func()) error {
		return s.runInitialObjects(ctx, ready, metrics)
	})}
}

func (s *server) runInitialObjects(ctx context.Context, ready func(), metrics *initialobjects.Metrics) error {
	virtual, err := s.apiServer.ClientConfig(initialObjectsUser, "system:masters")
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(virtual)
	if err != nil {
		return fmt.Errorf("virtual client of initial objects: %w", err)
	}
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	keeper, err := initialobjects.New(initialobjects.Options{
		Virtual: virtual, Objects: s.config.Objects(),
		Recorder: broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: initialobjects.FieldManager}),
		Metrics:  metrics,
	})
	if err != nil {
		return err
	}
	return keeper.Run(ctx, func() {
		s.objectsTried.Store(true)
		ready()
	})
}

// checkInitialObjects lets whoever waits for the tenant find the operator's objects in it.
// It does not wait for one that the tenant's API does not take.
func (s *server) checkInitialObjects(*http.Request) error {
	if !s.objectsTried.Load() {
		return errors.New("the operator's initial objects have not been tried yet")
	}
	return nil
}
