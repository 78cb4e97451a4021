package stories

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// witness has seen every host pod, and every event of the tenants, while the stories
// ran. What it swears to holds for all of them together: a pod is never doubled and
// never comes back, and no name of the host's is told.
type witness struct {
	mu     sync.Mutex
	pods   map[types.UID]map[types.UID]string // virtual UID → host UID → host name
	events map[string]string                  // message → what it was about
}

// watchAll begins to watch; it ends with the test.
func watchAll(t *testing.T, w *World) *witness {
	t.Helper()
	seen := &witness{pods: map[types.UID]map[types.UID]string{}, events: map[string]string{}}
	host := informers.NewSharedInformerFactoryWithOptions(w.Host, 0, informers.WithNamespace(w.HostNamespace),
		informers.WithTweakListOptions(func(options *metav1.ListOptions) { options.LabelSelector = "nestling.dev/tenant" }))
	seen.follow(t, host, host.Core().V1().Pods().Informer())
	for _, tenant := range []*Tenant{w.A, w.B} {
		virtual := informers.NewSharedInformerFactory(tenant.Client, 0)
		seen.follow(t, virtual, virtual.Core().V1().Events().Informer())
	}
	return seen
}

func (s *witness) follow(t *testing.T, factory informers.SharedInformerFactory, informer cache.SharedIndexInformer) {
	t.Helper()
	saw := func(object any) {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch object := object.(type) {
		case *corev1.Pod:
			s.sawPod(object)
		case *corev1.Event:
			s.events[object.Message] = object.Reason + " about " + object.InvolvedObject.Kind + " " + object.InvolvedObject.Name
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: saw, UpdateFunc: func(_, object any) { saw(object) }})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	factory.Start(ctx.Done())
	t.Cleanup(func() {
		cancel()
		factory.Shutdown()
	})
	require.True(t, cache.WaitForCacheSync(t.Context().Done(), informer.HasSynced))
}

func (s *witness) sawPod(host *corev1.Pod) {
	virtual := types.UID(host.Annotations["nestling.dev/uid"])
	if virtual == "" {
		return // not made by a tenant's process
	}
	if s.pods[virtual] == nil {
		s.pods[virtual] = map[types.UID]string{}
	}
	s.pods[virtual][host.UID] = host.Name
}

func (s *witness) requireOneEach(t *testing.T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Logf("%d pods ran", len(s.pods))
	for virtual, hosts := range s.pods {
		if len(hosts) != 1 {
			t.Errorf("virtual pod with UID %s had the host pods %v", virtual, hosts)
		}
	}
}

func (s *witness) requireNoHostNames(t *testing.T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Logf("%d different events", len(s.events))
	for message, about := range s.events {
		for _, hosts := range s.pods {
			for _, name := range hosts {
				if strings.Contains(message, name) {
					t.Errorf("event %s: %q has the host name %s", about, message, name)
				}
			}
		}
	}
}
