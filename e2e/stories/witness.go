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

// witness has seen every host pod while the stories ran. What it swears to holds for
// all of them together: a pod is never doubled and never comes back.
type witness struct {
	mu    sync.Mutex
	pods  map[types.UID]map[types.UID]string // virtual UID → host UID → host name
	names map[string]bool                    // host names
}

// watchHostPods begins to watch; it ends with the test.
func watchHostPods(t *testing.T, w *World) *witness {
	t.Helper()
	seen := &witness{pods: map[types.UID]map[types.UID]string{}, names: map[string]bool{}}
	factory := informers.NewSharedInformerFactoryWithOptions(w.Host, 0, informers.WithNamespace(w.HostNamespace),
		informers.WithTweakListOptions(func(options *metav1.ListOptions) { options.LabelSelector = "nestling.dev/tenant" }))
	informer := factory.Core().V1().Pods().Informer()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(object any) {
		if pod, ok := object.(*corev1.Pod); ok {
			seen.saw(pod)
		}
	}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	factory.Start(ctx.Done())
	t.Cleanup(func() {
		cancel()
		factory.Shutdown()
	})
	require.True(t, cache.WaitForCacheSync(t.Context().Done(), informer.HasSynced))
	return seen
}

func (s *witness) saw(host *corev1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	virtual := types.UID(host.Annotations["nestling.dev/uid"])
	if virtual == "" {
		return // not made by a tenant's process
	}
	if s.pods[virtual] == nil {
		s.pods[virtual] = map[types.UID]string{}
	}
	s.pods[virtual][host.UID] = host.Name
	s.names[host.Name] = true
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

func (s *witness) requireNoHostNames(t *testing.T, w *World) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, tenant := range []*Tenant{w.A, w.B} {
		events, err := tenant.Client.CoreV1().Events("").List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		t.Logf("%d events in tenant %s", len(events.Items), tenant.Name)
		for _, event := range events.Items {
			for name := range s.names {
				if strings.Contains(event.Message, name) {
					t.Errorf("event %s of tenant %s about %s %s: %q has the host name %s",
						event.Reason, tenant.Name, event.InvolvedObject.Kind, event.InvolvedObject.Name, event.Message, name)
				}
			}
		}
	}
}
