package stories

import (
	"context"
	"slices"
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
	mu   sync.Mutex
	pods map[types.UID]map[types.UID]string // virtual UID → host UID → host name
	// words is what host pods were first told of the tenant's own words about its nodes, and
	// placed those that had a node.
	words  map[types.UID]map[types.UID]string
	placed map[types.UID]bool
	said   map[string]string // message → what it was about: of events, and in the status of pods
}

// watchAll begins to watch; it ends with the test.
func watchAll(t *testing.T, w *World) *witness {
	t.Helper()
	seen := &witness{pods: map[types.UID]map[types.UID]string{}, words: map[types.UID]map[types.UID]string{}, placed: map[types.UID]bool{}, said: map[string]string{}}
	host := informers.NewSharedInformerFactoryWithOptions(w.Host, 0, informers.WithNamespace(w.HostNamespace),
		informers.WithTweakListOptions(func(options *metav1.ListOptions) { options.LabelSelector = "nestling.dev/tenant" }))
	seen.follow(t, host, host.Core().V1().Pods().Informer(), func(object any) { seen.sawPod(object.(*corev1.Pod)) })
	for _, tenant := range []*Tenant{w.A, w.B} {
		virtual := informers.NewSharedInformerFactory(tenant.Client, 0)
		seen.follow(t, virtual, virtual.Core().V1().Events().Informer(), func(object any) {
			event := object.(*corev1.Event)
			seen.said[event.Message] = event.Reason + " about " + event.InvolvedObject.Kind + " " + event.InvolvedObject.Name
		})
		// Another factory: each ends with its own informer.
		statuses := informers.NewSharedInformerFactory(tenant.Client, 0)
		seen.follow(t, statuses, statuses.Core().V1().Pods().Informer(), func(object any) { seen.heardPod(object.(*corev1.Pod)) })
	}
	return seen
}

func (s *witness) follow(t *testing.T, factory informers.SharedInformerFactory, informer cache.SharedIndexInformer, take func(object any)) {
	t.Helper()
	saw := func(object any) {
		s.mu.Lock()
		defer s.mu.Unlock()
		take(object)
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
	if host.Spec.NodeName != "" {
		s.placed[host.UID] = true
	}
	if s.words[virtual] == nil {
		s.words[virtual] = map[types.UID]string{}
	}
	if _, known := s.words[virtual][host.UID]; !known {
		s.words[virtual][host.UID] = host.Annotations["nestling.dev/nodes"]
	}
}

// heardPod takes down what the status of a tenant's pod says.
func (s *witness) heardPod(pod *corev1.Pod) {
	about := "in the status of Pod " + pod.Name
	s.said[pod.Status.Message] = about
	for _, condition := range pod.Status.Conditions {
		s.said[condition.Message] = string(condition.Type) + " " + about
	}
	for _, status := range append(slices.Clone(pod.Status.InitContainerStatuses), pod.Status.ContainerStatuses...) {
		if waiting := status.State.Waiting; waiting != nil {
			s.said[waiting.Message] = "container " + status.Name + " " + about
		}
	}
}

func (s *witness) requireOneEach(t *testing.T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Logf("%d pods ran", len(s.pods))
	for virtual, hosts := range s.pods {
		// One that nobody had placed is replaced when the tenant says something else of its
		// nodes, and for nothing else.
		placed, said := 0, map[string]bool{}
		for host := range hosts {
			if s.placed[host] {
				placed++
			}
			said[s.words[virtual][host]] = true
		}
		if placed > 1 || len(hosts) > 1 && len(said) == 1 {
			t.Errorf("virtual pod with UID %s had the host pods %v, %d of them with a node", virtual, hosts, placed)
		}
	}
}

func (s *witness) requireNoHostNames(t *testing.T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Logf("%d different messages", len(s.said))
	for message, about := range s.said {
		for _, hosts := range s.pods {
			for _, name := range hosts {
				if strings.Contains(message, name) {
					t.Errorf("%s: %q has the host name %s", about, message, name)
				}
			}
		}
	}
}
