package namespaces

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/kubernetes/pkg/controller/namespace/deletion"
)

// content is what a namespace holds; it plays the deleter, and the API of pods.
type content struct {
	mu     sync.Mutex
	pods   bool
	errs   []error         // of the next passes; then all is gone
	passes []time.Duration // when they were, after pods were told to end
	told   int             // how often they were
	at     time.Time       // the last time
	looks  int
}

func (c *content) Delete(context.Context, string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passes = append(c.passes, time.Since(c.at))
	if len(c.errs) == 0 {
		return nil
	}
	err := c.errs[0]
	c.errs = c.errs[1:]
	return err
}

// podContent is the content's pods.
type podContent struct{ *content }

func (c podContent) Left(context.Context, string) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looks++
	return c.pods, nil
}

func (c podContent) Delete(context.Context, string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told++
	c.at = time.Now()
	return errors.New("told once, whatever comes of it")
}

func (c *content) podsEnd() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pods = false
}

// terminate runs a controller with a namespace that is deleted now, for as long as during
// takes, on a clock of its own.
func terminate(t *testing.T, c *content, during func()) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		deleted := &metav1.Time{Time: time.Now()}
		client := fake.NewClientset(
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ends", DeletionTimestamp: deleted},
				Spec: corev1.NamespaceSpec{Finalizers: []corev1.FinalizerName{corev1.FinalizerKubernetes}}},
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "is held by others", DeletionTimestamp: deleted}},
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "stays"}})
		controller, err := newController(client, c, podContent{c})
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { controller.Run(ctx); close(ended) }()
		during()
		stop()
		<-ended
		require.Empty(t, controller.endings)
		require.Equal(t, 1, c.told)
	})
}

func TestTheLastPodTakesTheNamespaceAlong(t *testing.T) {
	t.Parallel()
	c := &content{pods: true, errs: []error{&deletion.ResourcesRemainingError{Estimate: 30}}}
	terminate(t, c, func() {
		time.Sleep(beginning + 3*time.Second)
		c.podsEnd()
		time.Sleep(time.Minute)
	})
	require.Len(t, c.passes, 2)
	require.Equal(t, beginning, c.passes[0])
	require.Less(t, c.passes[1], beginning+3200*time.Millisecond)
	require.Less(t, c.looks, 60)
}

func TestPodsWhoseGraceIsOverDoNotCauseOnePassAfterTheOther(t *testing.T) {
	t.Parallel()
	c := &content{pods: true, errs: []error{errors.New("unexpected items still remain"), errors.New("unexpected items still remain")}}
	terminate(t, c, func() {
		time.Sleep(beginning + firstPassBesidePods + time.Second)
		c.podsEnd()
		time.Sleep(time.Minute)
	})
	require.Len(t, c.passes, 3)
}

func TestWhatAFinalizerHoldsIsTriedAgain(t *testing.T) {
	t.Parallel()
	c := &content{errs: []error{&deletion.ResourcesRemainingError{Estimate: 15}, &deletion.ResourcesRemainingError{Estimate: 15}}}
	terminate(t, c, func() { time.Sleep(time.Minute) })
	require.Equal(t, []time.Duration{beginning, beginning + firstPass, beginning + 3*firstPass}, c.passes)
}
